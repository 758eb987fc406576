//! The status page: one file that asks for nothing but `/status.json`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

/// The page, with its style and its script.
pub(super) const PAGE: &str = include_str!("page.html");

/// What a browser may do with the page (`Content-Security-Policy`): run its own style and script, ask this port,
/// and nothing else.
pub(super) fn policy() -> String {
    let (style, script) = (hash_of("style"), hash_of("script"));
    format!(
        "default-src 'none'; style-src {style}; script-src {script}; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    )
}

/// The hash of what stands in the page's only element of this name.
fn hash_of(element: &str) -> String {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let inside = PAGE.split_once(&open).and_then(|(_, rest)| rest.split_once(&close));
    let (inside, _) = inside.unwrap_or_default();
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(inside)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_asks_for_nothing_from_elsewhere() {
        for word in ["http://", "https://", "src=", "<link", "@import", "url("] {
            let found = PAGE.replace("http://www.w3.org/2000/svg", "").contains(word);
            assert!(!found, "{word}");
        }
        for element in ["style", "script"] {
            assert_eq!(PAGE.matches(&format!("<{element}>")).count(), 1);
        }
    }

    #[test]
    fn what_clients_sent_is_never_markup() {
        for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!PAGE.contains(word), "{word}");
        }
    }
}
