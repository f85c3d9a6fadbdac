//! The window of a mobile session (M2): the greatest of four spans, and which one that is. The twin of what
//! `tenure.sign_in` freezes in the session.

/// A window and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Seconds.
    pub seconds: i32,
    /// What decides it: a field of the client application, or a property.
    pub source: &'static str,
}

impl Window {
    /// The window of a session that begins now; all in seconds. Of equal spans the first decides.
    pub fn of(refresh_token: i32, access_token: i32, ui_timeout: i32, integration_timeout: i32) -> Self {
        let spans = [
            (refresh_token, "refresh_token_lifespan"),
            (access_token, "access_token_lifespan"),
            (ui_timeout, "glide.ui.session_timeout"),
            (integration_timeout, "glide.integration.session_timeout"),
        ];
        let (seconds, source) = spans.into_iter().rev().max_by_key(|(seconds, _)| *seconds).unwrap_or_default();
        Self { seconds, source }
    }
}

#[cfg(test)]
mod tests {
    use super::Window;

    #[test]
    fn rule_m2_the_greatest_span_decides() {
        for (spans, seconds, source) in [
            ((1800, 1800, 1800, 300), 1800, "refresh_token_lifespan"),
            ((60, 1801, 1800, 300), 1801, "access_token_lifespan"),
            ((60, 60, 1800, 300), 1800, "glide.ui.session_timeout"),
            ((60, 60, 1800, 3600), 3600, "glide.integration.session_timeout"),
        ] {
            let (refresh, access, ui, integration) = spans;
            assert_eq!(Window::of(refresh, access, ui, integration), Window { seconds, source });
        }
    }
}
