//! The bandwidth limiter: never more than is allowed, never stuck, however bytes and time come.

#![no_main]

use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use sluicegate::{
    stream::shaper::{Bandwidth, Grant, Policy, Shaper},
    types::clock::Tick,
};

#[derive(Arbitrary, Debug)]
struct Input {
    policy: u8,
    burst: u64,
    /// How many of the bits below count, so that all magnitudes come up.
    magnitudes: [u8; 2],
    rate: u64,
    start: u32,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    /// Time passes, in microseconds.
    Wait(u32),
    /// Exactly as long as the limiter asked for.
    Obey,
    /// A share of what is granted leaves, in 255ths.
    Send(u8),
    /// So much at most.
    SendUpTo(u16),
}

const SECOND: u128 = 1_000_000;
const QUANTUM: u128 = 64 * 1024;

/// What may leave, in millionths of bytes: a burst, and credit that grows with time up to a bound. At whatever moment one
/// begins to count, no more leaves than this.
struct Allowance {
    burst: u128,
    credit: u128,
    most: u128,
    rate: u128,
}

impl Allowance {
    fn of(bandwidth: Bandwidth) -> Allowance {
        let (burst, rate) = (u128::from(bandwidth.burst), u128::from(bandwidth.rate));
        let refill = (rate / 8).max(1);
        let (burst, most, rate) = match bandwidth.policy {
            Policy::Unlimited => (u128::MAX / SECOND, 0, 0),
            Policy::Offset => (burst, 2 * QUANTUM.min((rate / 32).max(1)), rate),
            // What the bucket holds, and the refill that may come the moment after.
            Policy::Bucket => (0, burst.max(refill) + refill, refill * 8),
        };
        Allowance {
            burst: burst * SECOND,
            credit: most * SECOND,
            most: most * SECOND,
            rate,
        }
    }

    fn wait(&mut self, micros: u64) {
        self.credit = (self.credit + self.rate * u128::from(micros)).min(self.most);
    }

    fn take(&mut self, bytes: u64) -> bool {
        let wanted = u128::from(bytes) * SECOND;
        let free = wanted.min(self.burst);
        self.burst -= free;
        let rest = self.credit.checked_sub(wanted - free);
        self.credit = rest.unwrap_or_default();
        rest.is_some()
    }
}

/// Whoever does as the limiter says is served soon.
fn assert_not_stuck(shaper: &Shaper, mut now: Tick) {
    let mut shaper = shaper.clone();
    for _ in 0..3 {
        match shaper.grant(now) {
            Grant::Now(bytes) => return assert!(bytes > 0),
            Grant::At(then) => {
                assert!(then > now, "{then:?} isn't after {now:?}");
                assert!(
                    then.micros() - now.micros() <= SECOND as u64,
                    "{then:?} after {now:?}"
                );
                now = then;
            }
        }
    }
    panic!("{shaper:?} isn't served by {now:?}");
}

fuzz_target!(|input: Input| {
    let [burst, rate] = input.magnitudes;
    let bandwidth = Bandwidth {
        policy: match input.policy % 8 {
            0 => Policy::Unlimited,
            1..4 => Policy::Bucket,
            _ => Policy::Offset,
        },
        burst: input.burst >> (burst % 64),
        rate: (input.rate >> (rate % 64)).max(1),
    };
    let mut now = Tick::from_micros(input.start.into());
    let mut shaper = Shaper::new(bandwidth, now);
    let mut allowance = Allowance::of(bandwidth);
    for step in &input.steps {
        let grant = shaper.grant(now);
        let then = match (step, grant) {
            (Step::Wait(micros), _) => Tick::from_micros(now.micros() + u64::from(*micros)),
            (Step::Obey, Grant::At(then)) => then,
            _ => now,
        };
        allowance.wait(then.micros() - now.micros());
        now = then;
        let send = match (step, grant) {
            (Step::Send(share), Grant::Now(most)) => {
                (u128::from(most) * u128::from(*share) / 255) as u64
            }
            (Step::SendUpTo(bytes), Grant::Now(most)) => most.min((*bytes).into()),
            _ => 0,
        };
        shaper.spend(send);
        assert!(
            allowance.take(send),
            "{send} bytes are too many: {shaper:?}"
        );
        assert_not_stuck(&shaper, now);
    }
});
