//! The bandwidth limiter of streamed responses.
//!
//! API Gateway: "the first 10 MB of response payload is not restricted; payload beyond 10 MB is restricted to 2 MB/s".
//! That is the `offset` policy. Lambda's own limiter is a bucket that refills ([`Policy::Bucket`]). Pure: time comes in,
//! a grant goes out.

use crate::types::clock::Tick;

/// Which bytes are free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The first `burst` bytes of a response, whenever they come.
    Offset,
    /// What a bucket of `burst` bytes holds; it refills at the rate, an eighth of a second's worth at a time.
    Bucket,
    /// All.
    Unlimited,
}

/// A limiter's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bandwidth {
    /// How the burst is counted.
    pub policy: Policy,
    /// Bytes that pass untouched.
    pub burst: u64,
    /// Bytes per second beyond the burst, at least 1.
    pub rate: u64,
}

impl Bandwidth {
    /// Lambda's own limiter of streamed payloads: 6 MiB at once, then 2 MiB per second (page "Lambda quotas").
    pub const LAMBDA: Bandwidth = Bandwidth {
        policy: Policy::Bucket,
        burst: 6 * 1024 * 1024,
        rate: 2 * 1024 * 1024,
    };

    /// No limit.
    pub const UNLIMITED: Bandwidth = Bandwidth {
        policy: Policy::Unlimited,
        burst: 0,
        rate: 1,
    };
}

/// The answer to "may I send?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// At most so many bytes now (never 0).
    Now(u64),
    /// Nothing now; ask again then.
    At(Tick),
}

/// The most that leaves at once beyond the burst, and the most credit that silence can save up.
const QUANTUM: u64 = 64 * 1024;
/// Grants beyond the burst come about so often a second, or in quanta, whichever is more often.
const GRANTS_PER_SECOND: u64 = 32;
const SECOND: u64 = 1_000_000;
/// Lambda's limiter refills eight times a second.
const REFILL: u64 = SECOND / 8;

/// The limiter of one response.
#[derive(Clone, Debug)]
pub struct Shaper {
    bandwidth: Bandwidth,
    /// Free bytes left.
    free: u64,
    /// Bytes that may leave beyond them, in millionths.
    credit: u64,
    /// When credit or bucket were last counted up.
    counted: Tick,
    /// Credit ran out, and the next grant waits for a whole quantum.
    dry: bool,
}

impl Shaper {
    /// A limiter with all of its burst, at `now`.
    pub fn new(bandwidth: Bandwidth, now: Tick) -> Shaper {
        Shaper {
            bandwidth,
            free: bandwidth.burst,
            credit: 0,
            counted: now,
            dry: true,
        }
    }

    /// How much may leave at `now`.
    pub fn grant(&mut self, now: Tick) -> Grant {
        match self.bandwidth.policy {
            Policy::Unlimited => Grant::Now(u64::MAX),
            Policy::Bucket => self.bucket(now),
            Policy::Offset if self.free > 0 => {
                self.counted = now;
                Grant::Now(self.free)
            }
            Policy::Offset => self.paced(now),
        }
    }

    /// Counts bytes that left. They must have been granted.
    pub fn spend(&mut self, bytes: u64) {
        let free = bytes.min(self.free);
        self.free -= free;
        self.credit = self
            .credit
            .saturating_sub((bytes - free).saturating_mul(SECOND));
        // Crumbs of credit are saved for the next quantum instead of being sent as tiny frames.
        if self.credit < (self.quantum() * SECOND / 8).max(SECOND) {
            self.dry = true;
        }
    }

    /// Whether the stream is beyond its burst.
    pub fn is_limiting(&self) -> bool {
        self.bandwidth.policy != Policy::Unlimited && self.free == 0
    }

    fn quantum(&self) -> u64 {
        (self.bandwidth.rate / GRANTS_PER_SECOND).clamp(1, QUANTUM)
    }

    fn paced(&mut self, now: Tick) -> Grant {
        let Bandwidth { rate, .. } = self.bandwidth;
        let quantum = self.quantum();
        let elapsed = now.micros().saturating_sub(self.counted.micros());
        // Late timers lose nothing up to this much; longer silence saves up no more than one quantum.
        let most = quantum.saturating_mul(SECOND).saturating_mul(2);
        self.credit = elapsed
            .saturating_mul(rate)
            .saturating_add(self.credit)
            .min(most);
        self.counted = self.counted.max(now);
        let needed = if self.dry {
            quantum.saturating_mul(SECOND)
        } else {
            SECOND
        };
        if self.credit >= needed {
            self.dry = false;
            return Grant::Now(self.credit / SECOND);
        }
        Grant::At(Tick::from_micros(
            now.micros() + (needed - self.credit).div_ceil(rate),
        ))
    }

    fn bucket(&mut self, now: Tick) -> Grant {
        let Bandwidth { burst, rate, .. } = self.bandwidth;
        let refills = now.micros().saturating_sub(self.counted.micros()) / REFILL;
        let refill = (rate / 8).max(1);
        self.free = self
            .free
            .saturating_add(refills.saturating_mul(refill))
            .min(burst.max(refill));
        self.counted = Tick::from_micros(self.counted.micros() + refills * REFILL);
        if self.free > 0 {
            Grant::Now(self.free)
        } else {
            Grant::At(Tick::from_micros(self.counted.micros() + REFILL))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;
    const AWS: Bandwidth = Bandwidth {
        policy: Policy::Offset,
        burst: 10 * MIB,
        rate: 2 * MIB,
    };

    /// Sends `total` bytes in frames of at most `frame`, as fast as granted; a timer may be `late`. When each byte
    /// count had left.
    fn run(bandwidth: Bandwidth, total: u64, frame: u64, late: u64) -> Vec<(u64, u64)> {
        let mut shaper = Shaper::new(bandwidth, Tick::from_micros(0));
        let (mut now, mut sent, mut log) = (0, 0, Vec::new());
        while sent < total {
            match shaper.grant(Tick::from_micros(now)) {
                Grant::Now(most) => {
                    let bytes = most.min(frame).min(total - sent);
                    shaper.spend(bytes);
                    sent += bytes;
                    log.push((now, sent));
                }
                Grant::At(at) => {
                    assert!(at.micros() > now, "a grant must make progress");
                    now = at.micros() + late;
                }
            }
        }
        log
    }

    #[test]
    fn thirty_mib_take_ten_seconds_however_the_frames_are_cut() {
        for (frame, late) in [
            (16 * 1024, 0),
            (16 * 1024, 1500),
            (1000, 900),
            (64 * 1024, 2000),
            (7, 0),
        ] {
            let total = if frame == 7 {
                10 * MIB + 2 * MIB
            } else {
                30 * MIB
            };
            let log = run(AWS, total, frame, late);
            let burst_over = log.iter().find(|(_, sent)| *sent >= 10 * MIB).unwrap().0;
            assert_eq!(burst_over, 0, "the burst passes untouched");
            let took = log.last().unwrap().0 as f64 / SECOND as f64;
            let expected = (total - 10 * MIB) as f64 / (2 * MIB) as f64;
            assert!(
                (took / expected - 1.0).abs() < 0.02,
                "{took} for frames of {frame}"
            );
        }
    }

    #[test]
    fn any_second_beyond_the_burst_stays_within_two_percent_and_one_quantum() {
        let log = run(AWS, 20 * MIB, 16 * 1024, 1000);
        let paced: Vec<_> = log
            .into_iter()
            .filter(|(_, sent)| *sent > 10 * MIB)
            .collect();
        for (at, sent) in &paced {
            let after = paced
                .iter()
                .take_while(|(then, _)| *then < at + SECOND)
                .last()
                .unwrap()
                .1;
            assert!(after - sent <= 2 * MIB + 2 * MIB / 50 + 2 * QUANTUM);
        }
    }

    #[test]
    fn silence_saves_up_no_more_than_two_quanta() {
        let mut shaper = Shaper::new(AWS, Tick::from_micros(0));
        shaper.spend(10 * MIB);
        shaper.grant(Tick::from_micros(1));
        assert_eq!(
            shaper.grant(Tick::from_micros(3600 * SECOND)),
            Grant::Now(2 * QUANTUM)
        );
    }

    #[test]
    fn slow_rates_still_move_often() {
        let slow = Bandwidth {
            policy: Policy::Offset,
            burst: 0,
            rate: 1000,
        };
        let log = run(slow, 3000, 16 * 1024, 0);
        let took = log.last().unwrap().0;
        assert!((2_900_000..=3_100_000).contains(&took), "{took}");
        assert!(log.len() > 60);
        let one = Bandwidth {
            policy: Policy::Offset,
            burst: 0,
            rate: 1,
        };
        assert_eq!(run(one, 3, 16, 0).last().unwrap().0, 3 * SECOND);
    }

    #[test]
    fn lambdas_bucket_refills_an_eighth_at_a_time() {
        let lambda = Bandwidth {
            policy: Policy::Bucket,
            burst: 6 * MIB,
            rate: 2 * MIB,
        };
        let mut shaper = Shaper::new(lambda, Tick::from_micros(0));
        assert_eq!(shaper.grant(Tick::from_micros(0)), Grant::Now(6 * MIB));
        shaper.spend(6 * MIB);
        assert_eq!(
            shaper.grant(Tick::from_micros(1)),
            Grant::At(Tick::from_micros(125_000))
        );
        assert_eq!(
            shaper.grant(Tick::from_micros(125_000)),
            Grant::Now(256 * 1024)
        );
        // Unlike `offset`, a pause earns the burst again.
        assert_eq!(
            shaper.grant(Tick::from_micros(60 * SECOND)),
            Grant::Now(6 * MIB)
        );
    }
}
