//! `sluicegate top`: the streams of a running gateway, as its admin address tells them.

mod ask;
mod table;

use std::{
    io::{IsTerminal as _, stdout},
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use crossterm::{
    cursor, event, execute,
    terminal::{self, EnterAlternateScreen, LeaveAlternateScreen},
};

use tokio::signal::unix::{SignalKind, signal};

use super::{args::Top, complain, print};
use crate::types::clock::Tick;
use table::Table;

/// How often the list is drawn anew.
const REFRESH: Duration = Duration::from_secs(1);
/// How long it has to end once it was told to.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often it is looked whether somebody has told it to end by a signal.
const LOOK: Duration = Duration::from_millis(100);

/// A signal has told it to end.
static IS_TOLD: AtomicBool = AtomicBool::new(false);

pub(super) fn run(top: &Top) -> ExitCode {
    let mut table = Table::new(top.sort);
    if let Err(why) = ask::streams(&top.admin).map(|told| table.take(&told, Tick::now())) {
        complain(&format!("error: {why}\n"));
        return ExitCode::from(1);
    }
    if top.once || !stdout().is_terminal() {
        return print(&table.text(None));
    }
    match watch(top, &mut table) {
        Ok(()) => ExitCode::SUCCESS,
        // A terminal that hangs up can't be used from then on; the signal that says so may come a moment later.
        Err(_) if is_told_soon() => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: the terminal can't be used: {error}\n"));
            ExitCode::from(1)
        }
    }
}

fn is_told_soon() -> bool {
    thread::sleep(LOOK);
    IS_TOLD.load(Relaxed)
}

/// The terminal's other screen, until dropped.
struct Screen;

impl Screen {
    fn open() -> std::io::Result<Screen> {
        terminal::enable_raw_mode()?;
        let screen = Screen;
        execute!(stdout(), EnterAlternateScreen, cursor::Hide)?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = execute!(stdout(), cursor::Show, LeaveAlternateScreen);
        let _ = terminal::disable_raw_mode();
    }
}

/// Notes signals that end it, so that the terminal is left as it was found.
fn await_signals() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let inside = runtime.enter();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    drop(inside);
    thread::Builder::new().spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        });
        IS_TOLD.store(true, Relaxed);
        // A terminal that is gone may never give the other thread back.
        thread::sleep(PATIENCE);
        drop(Screen);
        std::process::exit(0);
    })?;
    Ok(())
}

/// Draws until somebody has seen enough. A gateway that doesn't answer for a while, as during a restart, is waited for.
fn watch(top: &Top, table: &mut Table) -> std::io::Result<()> {
    await_signals()?;
    let _screen = Screen::open()?;
    let mut next = Tick::now().after(REFRESH);
    let mut trouble = None;
    loop {
        draw(table, trouble.as_deref())?;
        loop {
            let wait = next.since(Tick::now());
            if IS_TOLD.load(Relaxed) {
                return Ok(());
            }
            if wait.is_zero() {
                break;
            }
            if event::poll(wait.min(LOOK))? {
                let event = event::read()?;
                if ends(&event) {
                    return Ok(());
                }
                draw(table, trouble.as_deref())?;
            }
        }
        trouble = match ask::streams(&top.admin) {
            Ok(told) => {
                table.take(&told, Tick::now());
                None
            }
            Err(why) => Some(why),
        };
        next = Tick::now().after(REFRESH);
    }
}

/// Draws the list over what was there, as far as the terminal has room.
fn draw(table: &Table, trouble: Option<&str>) -> std::io::Result<()> {
    let (width, height) = terminal::size()?;
    let mut text = String::from("\x1b[H");
    let listed = table.text(Some(usize::from(width)));
    let trouble = trouble.map(|why| format!("{}\n", why.lines().next().unwrap_or_default()));
    let lines = trouble.iter().flat_map(|why| why.lines());
    let lines = lines.chain(listed.lines()).take(usize::from(height));
    for (at, line) in lines.enumerate() {
        if at > 0 {
            text.push_str("\r\n");
        }
        text.push_str("\x1b[2K");
        text.extend(line.chars().take(usize::from(width)));
    }
    text.push_str("\x1b[J");
    let _ = print(&text);
    Ok(())
}

/// Whether a key ends it: in raw mode Ctrl-C is a key like others.
fn ends(event: &event::Event) -> bool {
    use event::{Event, KeyCode, KeyEventKind, KeyModifiers};
    let Event::Key(key) = event else { return false };
    let is_interrupt = key.modifiers.contains(KeyModifiers::CONTROL)
        && matches!(key.code, KeyCode::Char('c' | 'd'));
    key.kind == KeyEventKind::Press
        && (is_interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}

#[cfg(test)]
mod tests {
    use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};

    use super::*;

    #[test]
    fn q_and_ctrl_c_end_it_and_c_does_not() {
        let key = |code, modifiers| Event::Key(KeyEvent::new(code, modifiers));
        assert!(ends(&key(KeyCode::Char('q'), KeyModifiers::NONE)));
        assert!(ends(&key(KeyCode::Char('c'), KeyModifiers::CONTROL)));
        assert!(!ends(&key(KeyCode::Char('c'), KeyModifiers::NONE)));
        assert!(!ends(&Event::Resize(80, 24)));
    }
}
