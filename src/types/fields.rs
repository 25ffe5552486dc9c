//! The header or trailer fields of one message, in their order, with the names as they were written.
//!
//! One flat text and a list of places in it: parsing a head is a scan and one copy, sending it again is one write, and
//! nothing of a connection's read buffer stays alive because somebody kept a field.

use super::known::Known;

/// Why a field block can't be accepted (RFC 9112, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldFault {
    /// A control character, a bare CR or a bare LF.
    #[error("a control character or a bare line end")]
    Control,
    /// Not `name:`, or white space before the colon.
    #[error("a field line without a valid name")]
    Name,
    /// A line that begins with white space (obsolete line folding).
    #[error("a folded field line")]
    Folded,
    /// More field lines than allowed.
    #[error("too many field lines")]
    TooMany,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    known: Known,
    name_length: u16,
    name: u32,
    value: u32,
    value_length: u32,
}

/// Fields in wire order. Each stands in the text as `name: value CRLF`.
#[derive(Clone, Default)]
pub struct Fields {
    text: Vec<u8>,
    entries: Vec<Entry>,
}

/// One field: what it is, its name as written, its value without surrounding white space.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// The name, if the gateway has a rule for it.
    pub known: Known,
    /// The name in the sender's spelling.
    pub name: &'a [u8],
    /// The value; any bytes but controls.
    pub value: &'a [u8],
}

impl Field<'_> {
    /// Whether the name isn't `Transfer-Encoding` or `Content-Length` but could be taken for it, such as
    /// `Transfer_Encoding`, which CGI and its successors don't tell apart.
    pub fn resembles_framing(&self) -> bool {
        let is_likely = self.known == Known::Other && (13..=24).contains(&self.name.len());
        let resembles = |framing: &[u8]| {
            let letters = self.name.iter().filter(|byte| byte.is_ascii_alphanumeric());
            letters
                .map(u8::to_ascii_lowercase)
                .eq(framing.iter().copied())
        };
        is_likely && (resembles(b"transferencoding") || resembles(b"contentlength"))
    }
}

impl Fields {
    /// No fields yet, with room for `bytes` of text.
    pub fn with_capacity(bytes: usize) -> Fields {
        Fields {
            text: Vec::with_capacity(bytes),
            entries: Vec::with_capacity(16),
        }
    }

    /// Reads the field lines at the start of `block`, up to and with the empty line. `None` while it is incomplete.
    ///
    /// Returns the fields and how many bytes of `block` they took.
    pub fn parse(block: &[u8], most: usize) -> Result<Option<(Fields, usize)>, FieldFault> {
        let mut entries = Vec::with_capacity(16);
        let mut at = 0;
        loop {
            let Some(end) = line_end(block, at)? else {
                return Ok(None);
            };
            if end == at {
                break;
            }
            if entries.len() == most {
                return Err(FieldFault::TooMany);
            }
            entries.push(entry(block, at, end)?);
            at = end + 2;
        }
        let text = block.get(..at).unwrap_or_default().to_vec();
        Ok(Some((Fields { text, entries }, at + 2)))
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The field lines as they go over an HTTP/1 connection, without the empty line.
    pub fn wire(&self) -> &[u8] {
        &self.text
    }

    /// All fields in order.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.entries.iter().map(|entry| self.field(entry))
    }

    fn field(&self, entry: &Entry) -> Field<'_> {
        let part = |from: u32, length: usize| {
            self.text
                .get(from as usize..from as usize + length)
                .unwrap_or_default()
        };
        Field {
            known: entry.known,
            name: part(entry.name, entry.name_length.into()),
            value: part(entry.value, entry.value_length as usize),
        }
    }

    /// The first value of a known field.
    pub fn get(&self, known: Known) -> Option<&[u8]> {
        let entry = self.entries.iter().find(|entry| entry.known == known)?;
        Some(self.field(entry).value)
    }

    /// Whether a known field is there.
    pub fn has(&self, known: Known) -> bool {
        self.entries.iter().any(|entry| entry.known == known)
    }

    /// All values of a known field, in order.
    pub fn all(&self, known: Known) -> impl Iterator<Item = &[u8]> {
        self.iter()
            .filter(move |field| field.known == known)
            .map(|field| field.value)
    }

    /// All values of a field by name, whatever its case, in order.
    pub fn named<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    }

    /// Appends a field. `value` must hold no CR, LF or NUL (see [`is_field_value`]); a name no colon or white space.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.push_known(Known::of(name), name, value);
    }

    /// Appends a field whose [`Known`] is already known, such as one copied from other fields.
    pub fn push_known(&mut self, known: Known, name: &[u8], value: &[u8]) {
        self.push_with(known, name, |text| text.extend_from_slice(value));
    }

    /// Appends a field whose value is what `write` appends to the text.
    pub fn push_with(&mut self, known: Known, name: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        let from = self.text.len();
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(b": ");
        let at = self.text.len();
        write(&mut self.text);
        let value_length = (self.text.len() - at) as u32;
        self.text.extend_from_slice(b"\r\n");
        self.entries.push(Entry {
            known,
            name_length: name.len() as u16,
            name: from as u32,
            value: at as u32,
            value_length,
        });
    }

    /// Appends a field from another message.
    pub fn push_field(&mut self, field: Field<'_>) {
        self.push_known(field.known, field.name, field.value);
    }

    /// Keeps only the fields for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(Field<'_>) -> bool) {
        if self.iter().all(&mut keep) {
            return;
        }
        let mut kept = Fields::with_capacity(self.text.len());
        self.iter()
            .filter(|field| keep(*field))
            .for_each(|field| kept.push_field(field));
        *self = kept;
    }

    /// Replaces every field of this name by one.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        self.retain(|field| !field.name.eq_ignore_ascii_case(name));
        self.push(name, value);
    }

    /// Whether one of the comma-separated members of a known field is this token, whatever its case.
    pub fn lists(&self, known: Known, token: &[u8]) -> bool {
        self.all(known)
            .flat_map(list_members)
            .any(|member| member.eq_ignore_ascii_case(token))
    }

    /// Removes what the `Connection` field nominates, save the fields nobody may nominate away.
    pub fn drop_nominated(&mut self) {
        let plain = |value: &[u8]| {
            list_members(value).all(|member| {
                [&b"close"[..], b"keep-alive"]
                    .iter()
                    .any(|usual| member.eq_ignore_ascii_case(usual))
            })
        };
        if self.all(Known::Connection).all(plain) {
            return;
        }
        let nominated: Vec<Vec<u8>> = self
            .all(Known::Connection)
            .flat_map(list_members)
            .map(<[u8]>::to_vec)
            .collect();
        self.retain(|field| {
            field.known == Known::Connection
                || field.known.is_protected_from_nomination()
                || !nominated
                    .iter()
                    .any(|name| field.name.eq_ignore_ascii_case(name))
        });
    }
}

impl std::fmt::Debug for Fields {
    /// Names only: values may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(
                self.iter()
                    .map(|field| String::from_utf8_lossy(field.name).into_owned()),
            )
            .finish()
    }
}

/// The members of a comma-separated list, without white space and without empty ones.
pub fn list_members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

/// Whether these bytes can stand as a field value: no control but the tab.
pub fn is_field_value(value: &[u8]) -> bool {
    find_control(value).is_none()
}

/// Whether these bytes are a token (RFC 9110, section 5.6.2).
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| is_token_byte(*byte))
}

fn entry(block: &[u8], at: usize, end: usize) -> Result<Entry, FieldFault> {
    let line = block.get(at..end).unwrap_or_default();
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(FieldFault::Folded);
    }
    let colon = line
        .iter()
        .position(|byte| !is_token_byte(*byte))
        .unwrap_or(line.len());
    let (name, rest) = line.split_at_checked(colon).unwrap_or_default();
    let name_length = u16::try_from(name.len()).map_err(|_| FieldFault::Name)?;
    let Some((b':', rest)) = rest.split_first() else {
        return Err(FieldFault::Name);
    };
    if name.is_empty() {
        return Err(FieldFault::Name);
    }
    let lead = rest.len() - rest.trim_ascii_start().len();
    Ok(Entry {
        known: Known::of(name),
        name_length,
        name: at as u32,
        value: (at + colon + 1 + lead) as u32,
        value_length: rest.trim_ascii().len() as u32,
    })
}

/// The place of the CR that ends the line beginning at `from`; `None` while no line end has arrived.
pub fn line_end(block: &[u8], from: usize) -> Result<Option<usize>, FieldFault> {
    let Some(offset) = find_control(block.get(from..).unwrap_or_default()) else {
        return Ok(None);
    };
    match (block.get(from + offset), block.get(from + offset + 1)) {
        (Some(b'\r'), Some(b'\n')) => Ok(Some(from + offset)),
        (Some(b'\r'), None) => Ok(None),
        _ => Err(FieldFault::Control),
    }
}

/// The first control character other than a tab. Eight bytes are judged at a time.
fn find_control(bytes: &[u8]) -> Option<usize> {
    let is_control = |byte: &u8| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f;
    let (words, rest) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let mut marks = marks(u64::from_le_bytes(*word));
        while marks != 0 {
            let offset = marks.trailing_zeros() as usize / 8;
            if word.get(offset).is_some_and(is_control) {
                return Some(at * 8 + offset);
            }
            marks &= marks - 1;
        }
    }
    let offset = rest.iter().position(is_control)?;
    Some(words.len() * 8 + offset)
}

/// Marks the bytes below 0x20 and those that are 0x7f by their highest bits. Tabs are marked, too, and some bytes behind a
/// marked one that need not be.
fn marks(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES * 0x80;
    let low = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
    let deletes = word ^ (ONES * 0x7f);
    let delete = deletes.wrapping_sub(ONES) & !deletes & HIGHS;
    low | delete
}

fn is_token_byte(byte: u8) -> bool {
    const TOKEN: [bool; 256] = {
        let mut table = [false; 256];
        let marks = b"!#$%&'*+-.^_`|~";
        let mut at = 0;
        #[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
        while at < 256 {
            table[at] = (at as u8).is_ascii_alphanumeric();
            at += 1;
        }
        at = 0;
        #[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
        while at < marks.len() {
            table[marks[at] as usize] = true;
            at += 1;
        }
        table
    };
    TOKEN.get(usize::from(byte)).copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(block: &str) -> Result<Option<(Fields, usize)>, FieldFault> {
        Fields::parse(block.as_bytes(), 100)
    }

    #[test]
    fn names_keep_their_case_and_values_lose_their_surrounding_space() {
        let (fields, length) = parse("Host:a\r\nX-tEsT:  b c\t\r\n\r\nrest")
            .unwrap()
            .unwrap();
        assert_eq!(length, 25);
        let all: Vec<_> = fields
            .iter()
            .map(|field| (field.name, field.value))
            .collect();
        assert_eq!(all, [(&b"Host"[..], &b"a"[..]), (b"X-tEsT", b"b c")]);
        assert_eq!(fields.get(Known::Host), Some(&b"a"[..]));
    }

    #[test]
    fn a_block_is_incomplete_at_every_cut_before_its_end() {
        let block = "Host: example.com\r\nX-Long-Field-Name-Over-A-Block: some value here\r\n\r\n";
        for cut in 0..block.len() {
            assert!(parse(&block[..cut]).unwrap().is_none(), "cut at {cut}");
        }
        assert!(parse(block).unwrap().is_some());
    }

    #[test]
    fn what_rfc_9112_forbids_is_refused() {
        for (block, fault) in [
            ("Host : a\r\n\r\n", FieldFault::Name),
            (": a\r\n\r\n", FieldFault::Name),
            ("no colon\r\n\r\n", FieldFault::Name),
            ("a: b\r\n c\r\n\r\n", FieldFault::Folded),
            ("a: b\nc: d\r\n\r\n", FieldFault::Control),
            ("a: b\rc\r\n\r\n", FieldFault::Control),
            ("a: b\0\r\n\r\n", FieldFault::Control),
            ("a: b\x7f\r\n\r\n", FieldFault::Control),
            ("a\u{e9}: b\r\n\r\n", FieldFault::Name),
        ] {
            assert_eq!(parse(block).err(), Some(fault), "{block:?}");
        }
        assert_eq!(
            Fields::parse(b"a: 1\r\nb: 2\r\n\r\n", 1).err(),
            Some(FieldFault::TooMany)
        );
    }

    #[test]
    fn nominated_fields_go_and_protected_ones_stay() {
        let block = "Connection: close, X-Hop, Host, x-api-key\r\nHost: a\r\nx-hop: 1\r\nX-Api-Key: k\r\nX-Stay: 2\r\n\r\n";
        let (mut fields, _) = parse(block).unwrap().unwrap();
        fields.drop_nominated();
        let names: Vec<_> = fields.iter().map(|field| field.name.to_vec()).collect();
        assert_eq!(
            names,
            [&b"Connection"[..], b"Host", b"X-Api-Key", b"X-Stay"]
        );
    }

    #[test]
    fn a_control_is_found_wherever_it_stands() {
        for length in 0..40 {
            for at in 0..length {
                for control in [0, 0x0a, 0x0d, 0x1f, 0x7f] {
                    let mut bytes = vec![b'\t'; length];
                    bytes[at] = control;
                    assert_eq!(
                        find_control(&bytes),
                        Some(at),
                        "{control:#x} at {at} of {length}"
                    );
                }
            }
            assert_eq!(find_control(&vec![0xff; length]), None);
        }
    }

    #[test]
    fn pushed_fields_read_back_and_stand_on_the_wire() {
        let mut fields = Fields::default();
        fields.push(b"a", b"1");
        fields.push(b"Set-Cookie", b"x");
        fields.set(b"A", b"2");
        assert_eq!(fields.wire(), b"Set-Cookie: x\r\nA: 2\r\n");
        assert_eq!(fields.named(b"a").collect::<Vec<_>>(), [b"2"]);
    }
}
