//! The demo's live view: one line per open request, redrawn in place on a terminal; elsewhere one line per request that
//! has ended.

use std::{fmt::Write as _, time::Duration};

use crate::{
    cli::{print, words::size},
    stream::clocks::Waiting,
    telemetry::live::{self, LiveStream},
    types::{clock::Tick, outcome::Outcome},
};

const REDRAW: Duration = Duration::from_millis(150);
/// Open requests that are shown.
const MOST_LINES: usize = 12;

/// Shows what happens, for as long as the process lives.
pub(super) fn show(is_terminal: bool, colour: bool) {
    let mut drawn = 0;
    loop {
        std::thread::sleep(REDRAW);
        let ended = live::take_ended();
        let open = if is_terminal {
            live::open()
        } else {
            Vec::new()
        };
        if ended.is_empty() && open.is_empty() && drawn == 0 {
            continue;
        }
        let mut text = String::new();
        if drawn > 0 {
            // Up to the first of the lines drawn before, and clear from there.
            let _ = write!(text, "\x1b[{drawn}A\x1b[J");
        }
        for stream in &ended {
            text.push_str(&ended_line(stream, colour));
        }
        let lines: Vec<String> = open
            .iter()
            .take(MOST_LINES)
            .map(|stream| open_line(stream))
            .collect();
        text.extend(lines.iter().map(String::as_str));
        drawn = lines.len();
        print(&text);
    }
}

fn open_line(stream: &LiveStream) -> String {
    let seconds = Tick::now().since(stream.opened).as_secs_f64();
    let waits = match stream.waiting() {
        Waiting::Integration => "waiting for the backend",
        Waiting::Client => "waiting for the client",
        Waiting::Upload => "waiting for the upload",
        Waiting::Shaper => "held to its bandwidth",
        Waiting::Nobody => "",
    };
    let rate = stream.bytes() as f64 / seconds.max(0.001);
    format!(
        "  > {:<24} {:>10} {:>12}/s {seconds:>6.1} s  {waits}\n",
        request(stream),
        size(stream.bytes() as f64),
        size(rate)
    )
}

fn ended_line(stream: &LiveStream, colour: bool) -> String {
    let (outcome, at) = stream
        .outcome()
        .unwrap_or((Outcome::ClientLeft, stream.opened));
    let seconds = at.since(stream.opened).as_secs_f64();
    let (paint, plain) = match (colour, outcome) {
        (false, _) => ("", ""),
        (true, Outcome::Complete) => ("\x1b[32m", "\x1b[0m"),
        (true, _) => ("\x1b[33m", "\x1b[0m"),
    };
    let size = size(stream.bytes() as f64);
    format!(
        "    {:<24} {size:>10} in {seconds:.1} s: {paint}{}{plain}\n",
        request(stream),
        outcome.as_str()
    )
}

fn request(stream: &LiveStream) -> String {
    format!("{} {}", stream.method, stream.path)
}
