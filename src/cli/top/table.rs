//! The streams as a table.

use std::{collections::HashMap, fmt::Write as _};

use serde_json::Value;

use crate::{
    cli::{args::Order, words::size},
    types::clock::Tick,
};

/// Characters of an id, and of the beginning that is enough to end a stream by.
const WHOLE_ID: usize = 36;
const SHORT_ID: usize = 8;
/// Columns of a terminal with room for the client besides, and for whole ids.
const WITH_CLIENTS: usize = 110;
const WITH_WHOLE_IDS: usize = 140;

/// The streams as they were last told, and their bytes at that time.
#[derive(Debug)]
pub(super) struct Table {
    order: Order,
    open: u64,
    rows: Vec<Row>,
    taken: Option<Tick>,
}

#[derive(Debug)]
struct Row {
    id: String,
    age: f64,
    bytes: f64,
    rate: f64,
    silence: f64,
    waits: String,
    client: String,
    request: String,
}

impl Table {
    /// An empty table.
    pub(super) fn new(order: Order) -> Table {
        Table {
            order,
            open: 0,
            rows: Vec::new(),
            taken: None,
        }
    }

    /// Takes over what was told at `now`. Rates are those since the last time, or a stream's own average at first.
    pub(super) fn take(&mut self, told: &Value, now: Tick) {
        let before: HashMap<&str, f64> = self
            .rows
            .iter()
            .map(|row| (row.id.as_str(), row.bytes))
            .collect();
        let passed = self
            .taken
            .map_or(0.0, |taken| now.since(taken).as_secs_f64());
        let streams = told["streams"].as_array().into_iter().flatten();
        let mut rows: Vec<Row> = streams.map(row).collect();
        for row in &mut rows {
            if let Some(before) = before.get(row.id.as_str()).filter(|_| passed > 0.0) {
                row.rate = (row.bytes - before).max(0.0) / passed;
            }
        }
        let order = self.order;
        let key = |row: &Row| match order {
            Order::Age => row.age,
            Order::Bytes => row.bytes,
            Order::Rate => row.rate,
            Order::Silence => row.silence,
        };
        rows.sort_by(|a, b| key(b).total_cmp(&key(a)));
        self.rows = rows;
        self.open = told["open"].as_u64().unwrap_or(0);
        self.taken = Some(now);
    }

    /// The table as text. On a narrow terminal, ids are shown by their beginnings and clients not at all.
    pub(super) fn text(&self, width: Option<usize>) -> String {
        let has_room = |columns: usize| width.is_none_or(|width| width >= columns);
        let id_width = if has_room(WITH_WHOLE_IDS) {
            WHOLE_ID
        } else {
            SHORT_ID
        };
        let client = |text: &str| {
            if has_room(WITH_CLIENTS) {
                format!("{text:<21}  ")
            } else {
                String::new()
            }
        };
        let mut text = format!("{} open\n", self.open);
        let _ = writeln!(
            text,
            "{:<id_width$}  {:>8}  {:>10}  {:>12}  {:>8}  {:<11}  {}REQUEST",
            "ID",
            "AGE",
            "SENT",
            "RATE",
            "SILENT",
            "WAITS FOR",
            client("CLIENT")
        );
        for row in &self.rows {
            let rate = format!("{}/s", size(row.rate));
            let _ = writeln!(
                text,
                "{:<id_width$.id_width$}  {:>7.1}s  {:>10}  {rate:>12}  {:>7.1}s  {:<11}  {}{}",
                row.id,
                row.age,
                size(row.bytes),
                row.silence,
                row.waits,
                client(&row.client),
                row.request
            );
        }
        text
    }
}

fn row(stream: &Value) -> Row {
    let number = |name: &str| stream[name].as_f64();
    // What is drawn on a terminal must not be able to command it.
    let text = |name: &str| -> String {
        let said = stream[name].as_str().unwrap_or("-");
        said.chars().filter(|it| !it.is_control()).collect()
    };
    let age = number("ageSeconds").unwrap_or(0.0);
    Row {
        id: text("id"),
        age,
        bytes: number("bytes").unwrap_or(0.0),
        rate: number("bytesPerSecond").unwrap_or(0.0),
        silence: number("secondsSinceLastSent").unwrap_or(age),
        waits: text("waitingFor"),
        client: text("client"),
        request: format!("{} {}", text("method"), text("path")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(streams: &[(&str, f64, u64)]) -> Value {
        let streams: Vec<Value> = streams
            .iter()
            .map(|(id, age, bytes)| {
                json!({ "id": id, "ageSeconds": age, "bytes": bytes, "bytesPerSecond": 1, "secondsSinceLastSent": null,
                        "waitingFor": "client", "client": "127.0.0.1:5", "method": "GET", "path": format!("/{id}\u{1b}[2J") })
            })
            .collect();
        json!({ "open": streams.len(), "streams": streams })
    }

    #[test]
    fn rates_are_those_since_the_last_time() {
        let mut table = Table::new(Order::Rate);
        let now = Tick::from_micros(1_000_000);
        table.take(&told(&[("slow", 9.0, 1024), ("fast", 3.0, 0)]), now);
        let later = Tick::from_micros(3_000_000);
        table.take(&told(&[("slow", 11.0, 1024), ("fast", 5.0, 4096)]), later);
        let text = table.text(None);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[2].contains("fast") && lines[2].contains("2.0 KiB/s"),
            "{text}"
        );
        assert!(
            lines[3].contains("slow") && lines[3].contains(" 0 B/s"),
            "{text}"
        );
        assert!(lines[3].contains("11.0s  client"), "{text}");
    }

    #[test]
    fn a_path_cannot_command_the_terminal() {
        let mut table = Table::new(Order::Age);
        table.take(&told(&[("a", 1.0, 1)]), Tick::now());
        assert!(!table.text(None).contains('\u{1b}'));
    }

    #[test]
    fn a_narrow_terminal_has_the_beginnings_of_ids_and_no_clients() {
        let mut table = Table::new(Order::Age);
        table.take(&told(&[("91d09975-c441", 1.0, 1)]), Tick::now());
        let wide = table.text(Some(200));
        assert!(
            wide.contains("91d09975-c441 ") && wide.contains("127.0.0.1:5"),
            "{wide}"
        );
        let narrow = table.text(Some(80));
        assert!(
            narrow.contains("\n91d09975  ") && !narrow.contains("127.0.0.1"),
            "{narrow}"
        );
        let columns: Vec<_> = narrow
            .lines()
            .map(|line| line.find("REQUEST").or(line.find("GET /")))
            .collect();
        assert_eq!(columns[1], columns[2], "{narrow}");
    }
}
