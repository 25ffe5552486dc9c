//! Header fields against a plain list of names and values: reading, looking up, changing, and what `Connection` nominates.

#![no_main]

use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use sluicegate::types::{
    fields::{Fields, is_field_value, is_token, list_members},
    known::Known,
};
use sluicegate_fuzz::{assert_sound, pairs};

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

#[derive(Arbitrary, Debug)]
enum Change<'a> {
    Push(&'a [u8], &'a [u8]),
    Set(&'a [u8], &'a [u8]),
    Drop(&'a [u8]),
    DropNominated,
}

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    changes: Vec<Change<'a>>,
    block: &'a [u8],
}

/// All that is read of a block is read only once it is complete, and what is wrong with it stays wrong.
fn parse(block: &[u8]) -> Option<Fields> {
    let whole = Fields::parse(block, 100);
    for cut in 0..block.len() {
        match (Fields::parse(&block[..cut], 100), &whole) {
            (Ok(None), _) => {}
            (Ok(Some((part, length))), Ok(Some((fields, same)))) => {
                assert_eq!((length, pairs(&part)), (*same, pairs(fields)));
            }
            (Err(fault), Err(same)) => assert_eq!(fault, *same),
            (part, _) => panic!("at {cut} {part:?}, in the end {whole:?}"),
        }
    }
    let (fields, length) = whole.ok()??;
    assert_eq!([fields.wire(), b"\r\n"].concat(), block[..length]);
    Some(fields)
}

fn nominated(list: &Pairs) -> Vec<Vec<u8>> {
    let connection = list
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"connection"));
    let members =
        connection.flat_map(|(_, value)| list_members(value).map(<[u8]>::to_ascii_lowercase));
    let members: Vec<_> = members.collect();
    // What is said of the connection itself is no field's name.
    let is_usual = |member: &Vec<u8>| matches!(&member[..], b"close" | b"keep-alive");
    if members.iter().all(is_usual) {
        return Vec::new();
    }
    members
}

fn change(fields: &mut Fields, list: &mut Pairs, change: &Change<'_>) {
    match change {
        Change::Push(name, value) | Change::Set(name, value) => {
            if !is_token(name) || !is_field_value(value) {
                return;
            }
            if matches!(change, Change::Set(..)) {
                fields.set(name, value);
                list.retain(|(own, _)| !own.eq_ignore_ascii_case(name));
            } else {
                fields.push(name, value);
            }
            list.push((name.to_vec(), value.trim_ascii().to_vec()));
        }
        Change::Drop(name) => {
            fields.retain(|field| !field.name.eq_ignore_ascii_case(name));
            list.retain(|(own, _)| !own.eq_ignore_ascii_case(name));
        }
        Change::DropNominated => {
            fields.drop_nominated();
            let nominated = nominated(list);
            list.retain(|(name, _)| {
                let known = Known::of(name);
                known == Known::Connection
                    || known.is_protected_from_nomination()
                    || !nominated.contains(&name.to_ascii_lowercase())
            });
        }
    }
}

fn assert_same(fields: &Fields, list: &Pairs) {
    assert_eq!(&pairs(fields), list);
    assert_eq!(
        (fields.len(), fields.is_empty()),
        (list.len(), list.is_empty())
    );
    assert_sound(fields);
    for (name, value) in list {
        let known = Known::of(name);
        assert_eq!(known, Known::of(&name.to_ascii_uppercase()));
        let same = list
            .iter()
            .filter(|(own, _)| own.eq_ignore_ascii_case(name));
        let same: Vec<_> = same.map(|(_, value)| value.as_slice()).collect();
        let named: Vec<_> = fields.named(name).map(<[u8]>::trim_ascii).collect();
        assert_eq!(named, same);
        if !matches!(known, Known::Other | Known::XAmznApigateway) {
            assert!(fields.has(known));
            let all: Vec<_> = fields.all(known).map(<[u8]>::trim_ascii).collect();
            assert_eq!(all, same);
            assert_eq!(
                fields.get(known).map(<[u8]>::trim_ascii),
                same.first().copied()
            );
            for member in list_members(value) {
                assert!(fields.lists(known, &member.to_ascii_uppercase()));
            }
        }
    }
}

fuzz_target!(|input: Input<'_>| {
    let mut fields = parse(input.block).unwrap_or_default();
    let mut list = pairs(&fields);
    assert_same(&fields, &list);
    for next in &input.changes {
        change(&mut fields, &mut list, next);
        assert_same(&fields, &list);
    }
});
