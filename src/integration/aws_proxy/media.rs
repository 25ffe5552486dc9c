//! Binary media types: which bodies cross in base64.

/// Whether a media type, with or without parameters, is one of `binary` (lower case; `type/*` and `*/*` are wildcards).
pub(super) fn is_binary(media_type: &str, binary: &[Box<str>]) -> bool {
    let essence = media_type.split([';', ',']).next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    binary.iter().any(|own| {
        &**own == "*/*"
            || **own == *essence
            || own
                .strip_suffix('*')
                .is_some_and(|prefix| prefix.len() > 1 && essence.starts_with(prefix))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_match_by_essence_and_wildcards() {
        let binary: Vec<Box<str>> = vec!["image/png".into(), "audio/*".into()];
        for (media_type, expected) in [
            ("image/png", true),
            ("IMAGE/PNG; q=0.5", true),
            ("image/png, text/html", true),
            ("text/html, image/png", false),
            ("audio/ogg", true),
            ("image/*", false),
            ("*/*", false),
            ("", false),
        ] {
            assert_eq!(is_binary(media_type, &binary), expected, "{media_type}");
        }
        assert!(is_binary("anything/at-all", &["*/*".into()]));
        assert!(!is_binary("image/png", &[]));
    }
}
