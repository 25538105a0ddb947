//! The bytes of an image that a client sends: an attachment of its packet, or a data URL in base64. What that says of the
//! type does not matter, because `chat/` looks at the bytes. Called by the dialects that have images.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use roomcast_protocol::image::{Attachment, ImageData};
use roomcast_protocol::{Code, Refusal};

use super::packet::Payload;

/// With padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The bytes of an image of a payload.
///
/// # Errors
/// The payload has no such attachment, or the URL is no data URL in base64.
pub(super) fn image_bytes(payload: &Payload, image: &ImageData) -> Result<Bytes, Refusal> {
    match image {
        ImageData::DataUrl(url) => decode_data_url(url),
        ImageData::Bytes(Attachment { placeholder, num }) => {
            let attachment = match payload {
                Payload::WithBytes(_, attachments) if *placeholder => attachments.get(*num),
                _ => None,
            };
            let missing = || Refusal::new(Code::BadRequest, "image: neither bytes nor a data URL");
            attachment.cloned().ok_or_else(missing)
        }
    }
}

fn decode_data_url(url: &str) -> Result<Bytes, Refusal> {
    let bad = |why: &str| Refusal::new(Code::BadImage, format!("image: {why}"));
    let parts = url.split_once(',').and_then(|(head, data)| Some((head.get(..5)?, head.get(5..)?, data)));
    let (scheme, media_type, data) = parts.ok_or_else(|| bad("not a data URL"))?;
    if !scheme.eq_ignore_ascii_case("data:") {
        return Err(bad("not a data URL"));
    }
    let is_base64 = media_type.rsplit(';').next().is_some_and(|last| last.eq_ignore_ascii_case("base64"));
    if !is_base64 {
        return Err(bad("the data URL is not in base64"));
    }
    BASE64.decode(data.trim()).map(Bytes::from).map_err(|_| bad("the base64 of the data URL is broken"))
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn data_urls_are_decoded_whatever_type_they_claim() {
        for url in ["data:image/png;base64,AQID", "DATA:;BASE64,AQID", "data:text/html;charset=x;base64,AQID"]
        {
            assert_eq!(decode_data_url(url).unwrap(), [1, 2, 3].as_slice(), "{url}");
        }
        assert_eq!(decode_data_url("data:;base64,AQ").unwrap(), [1].as_slice());
        assert_eq!(decode_data_url("data:;base64,").unwrap().len(), 0);
        for bad in [
            "",
            "AQID",
            "http://x/,",
            "data:image/png,AQID",
            "data:;base64,A?",
            "dat\u{e9}:;base64,AQ",
            "é,x",
        ] {
            assert_eq!(decode_data_url(bad).unwrap_err().code, Code::BadImage, "{bad}");
        }
    }

    #[test]
    fn bytes_are_those_of_the_attachment() {
        let json = RawValue::from_string("{}".into()).unwrap();
        let payload = Payload::WithBytes(json, vec![Bytes::from_static(b"a"), Bytes::from_static(b"b")]);
        let of = |placeholder, num| image_bytes(&payload, &ImageData::Bytes(Attachment { placeholder, num }));
        assert_eq!(of(true, 1).unwrap(), b"b".as_slice());
        assert_eq!(of(true, 2).unwrap_err().code, Code::BadRequest);
        assert_eq!(of(false, 0).unwrap_err().code, Code::BadRequest);
    }
}
