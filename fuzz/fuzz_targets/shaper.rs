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

/// What may have left after so much time.
fn allowance(bandwidth: Bandwidth, elapsed: u64) -> u128 {
    let Bandwidth {
        policy,
        burst,
        rate,
    } = bandwidth;
    let (burst, rate, elapsed) = (u128::from(burst), u128::from(rate), u128::from(elapsed));
    match policy {
        Policy::Unlimited => u128::MAX,
        Policy::Offset => burst + rate * elapsed / SECOND + 2 * QUANTUM.min((rate / 32).max(1)),
        // An empty bucket still takes one refill.
        Policy::Bucket => {
            let refill = (rate / 8).max(1);
            burst.max(refill) + refill * (elapsed / (SECOND / 8) + 1)
        }
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
    let start = Tick::from_micros(input.start.into());
    let mut now = start;
    let mut shaper = Shaper::new(bandwidth, now);
    let mut left = 0_u128;
    for step in &input.steps {
        let grant = shaper.grant(now);
        let send = match (step, grant) {
            (Step::Wait(micros), _) => {
                now = Tick::from_micros(now.micros() + u64::from(*micros));
                0
            }
            (Step::Obey, Grant::At(then)) => {
                now = then;
                0
            }
            (Step::Send(share), Grant::Now(most)) => {
                (u128::from(most) * u128::from(*share) / 255) as u64
            }
            (Step::SendUpTo(bytes), Grant::Now(most)) => most.min((*bytes).into()),
            _ => 0,
        };
        shaper.spend(send);
        left += u128::from(send);
        let allowed = allowance(bandwidth, now.micros() - start.micros());
        assert!(
            left <= allowed,
            "{left} left, {allowed} are allowed: {shaper:?}"
        );
        assert_not_stuck(&shaper, now);
    }
});
