//! Validation of command fields. Pure. Called by the commands' files.

use roomcast_protocol::limits::{
    DEFAULT_PAGE, MAX_ALT_BYTES, MAX_ID_CHARS, MAX_PAGE, MAX_RESUME_BYTES, MAX_TEXT_BYTES,
};
use roomcast_protocol::{Code, Refusal, UserName};

/// Validates the requested size of a page: `min` to [`MAX_PAGE`], or the default.
pub(super) fn page(limit: Option<usize>, min: usize) -> Result<usize, Refusal> {
    match limit {
        None => Ok(DEFAULT_PAGE),
        Some(limit) if (min..=MAX_PAGE).contains(&limit) => Ok(limit),
        Some(_) => Err(Refusal::new(Code::BadRequest, format!("limit must be {min} to {MAX_PAGE}"))),
    }
}

/// Validates the text of a message.
pub(super) fn check_text(text: &str) -> Result<(), Refusal> {
    if text.trim().is_empty() {
        return Err(Refusal::new(Code::BadText, "the text is empty"));
    }
    if text.len() > MAX_TEXT_BYTES {
        return Err(Refusal::new(Code::BadText, format!("the text is longer than {MAX_TEXT_BYTES} bytes")));
    }
    Ok(())
}

/// Validates the description of an image.
pub(super) fn check_alt(alt: &str) -> Result<(), Refusal> {
    if alt.len() > MAX_ALT_BYTES {
        return Err(Refusal::new(Code::BadText, format!("alt is longer than {MAX_ALT_BYTES} bytes")));
    }
    Ok(())
}

/// The id of a message: the client's, validated, or a random one if it sent none.
pub(super) fn message_id(id: Option<String>) -> Result<String, Refusal> {
    match id {
        Some(id) if id.is_empty() || id.chars().count() > MAX_ID_CHARS => {
            Err(Refusal::new(Code::BadId, format!("an id has 1 to {MAX_ID_CHARS} characters")))
        }
        Some(id) => Ok(id),
        None => Ok(random_hex()),
    }
}

/// Validates the name of a user: that of the server itself is reserved.
pub(super) fn check_user(user: &UserName) -> Result<(), Refusal> {
    if user.is_reserved() { Err(Refusal::new(Code::BadUsername, "this name is reserved")) } else { Ok(()) }
}

/// Validates a secret that a client chose.
pub(super) fn check_resume(resume: &str) -> Result<(), Refusal> {
    if resume.is_empty() || resume.len() > MAX_RESUME_BYTES {
        return Err(Refusal::new(Code::BadRequest, format!("resume has 1 to {MAX_RESUME_BYTES} bytes")));
    }
    Ok(())
}

/// 128 random bits, in hexadecimal.
pub(super) fn random_hex() -> String {
    format!("{:032x}", rand::random::<u128>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_bounded() {
        assert!(check_text("hi").is_ok());
        assert_eq!(check_text(" \n").unwrap_err().code, Code::BadText);
        assert!(check_text(&"x".repeat(MAX_TEXT_BYTES)).is_ok());
        assert_eq!(check_text(&"x".repeat(MAX_TEXT_BYTES + 1)).unwrap_err().code, Code::BadText);
    }

    #[test]
    fn a_message_always_has_an_id() {
        assert_eq!(message_id(Some("a".into())).unwrap(), "a");
        assert_eq!(message_id(None).unwrap().len(), 32);
        assert_ne!(message_id(None), message_id(None));
        assert_eq!(message_id(Some(String::new())).unwrap_err().code, Code::BadId);
        assert!(message_id(Some("é".repeat(MAX_ID_CHARS))).is_ok());
        assert_eq!(message_id(Some("x".repeat(MAX_ID_CHARS + 1))).unwrap_err().code, Code::BadId);
    }

    #[test]
    fn pages_are_bounded() {
        assert_eq!(page(None, 1).unwrap(), DEFAULT_PAGE);
        assert_eq!(page(Some(0), 0).unwrap(), 0);
        assert_eq!(page(Some(0), 1).unwrap_err().code, Code::BadRequest);
        assert_eq!(page(Some(MAX_PAGE + 1), 0).unwrap_err().code, Code::BadRequest);
    }

    #[test]
    fn the_name_of_the_server_is_reserved() {
        let check = |name: &str| check_user(&UserName::parse(name).unwrap()).map_err(|refusal| refusal.code);
        assert_eq!(check("System"), Err(Code::BadUsername));
        assert_eq!(check("Systemic"), Ok(()));
    }

    #[test]
    fn secrets_are_bounded() {
        assert!(check_resume("s").is_ok());
        assert_eq!(check_resume("").unwrap_err().code, Code::BadRequest);
        assert_eq!(check_resume(&"s".repeat(MAX_RESUME_BYTES + 1)).unwrap_err().code, Code::BadRequest);
    }
}
