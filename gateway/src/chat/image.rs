//! What an image is, by its first bytes: its type, whatever its sender says of it, and the size that its header declares.
//! Nothing is decoded. And the settings of images. Pure. Called by `send_image.rs`.

use std::sync::Arc;

use roomcast_protocol::limits::MAX_IMAGE_PIXELS;
use roomcast_protocol::{Code, ImageType, Refusal};

/// The path under which any gateway serves images.
pub(crate) const IMAGES_PATH: &str = "/images";

/// Settings of images.
#[derive(Debug, Clone)]
pub(crate) struct ImageSettings {
    /// The longest image, in bytes.
    pub(crate) max_bytes: usize,
    /// What stands before the path in an image's URL; empty where the path is the URL.
    pub(crate) public_url: Arc<str>,
}

/// The type of an image, and its width and height in pixels.
///
/// # Errors
/// It is none of the types, its header is broken, or it declares too many pixels: few bytes may be many of them, which
/// every reader's browser would have to hold.
pub(super) fn inspect(bytes: &[u8]) -> Result<(ImageType, u32, u32), Refusal> {
    let broken = || Refusal::new(Code::BadImage, "the header of the image is broken");
    let image_type =
        image_type(bytes).ok_or_else(|| Refusal::new(Code::BadImage, "this is no PNG, JPEG, GIF or WebP"))?;
    let size = imagesize::blob_size(bytes).map_err(|_| broken())?;
    let [width, height] = [size.width, size.height].map(|side| u32::try_from(side).unwrap_or(u32::MAX));
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        return Err(broken());
    }
    if usize::try_from(pixels).map_or(true, |pixels| pixels > MAX_IMAGE_PIXELS) {
        let message = format!("an image has at most {MAX_IMAGE_PIXELS} pixels, not {width} × {height}");
        return Err(Refusal::new(Code::ImageDimensions, message));
    }
    Ok((image_type, width, height))
}

fn image_type(bytes: &[u8]) -> Option<ImageType> {
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', _, _, _, _, b'I', b'H', b'D', b'R', ..] => {
            Some(ImageType::Png)
        }
        [0xff, 0xd8, 0xff, ..] => Some(ImageType::Jpeg),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(ImageType::Gif),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(ImageType::Webp),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(width: u32, height: u32) -> Vec<u8> {
        [&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], &width.to_be_bytes(), &height.to_be_bytes(), &[8, 6, 0, 0, 0]]
            .concat()
    }

    fn code(bytes: &[u8]) -> Code {
        inspect(bytes).unwrap_err().code
    }

    #[test]
    fn types_and_sizes_are_read_from_headers() {
        assert_eq!(inspect(&png(3, 2)).unwrap(), (ImageType::Png, 3, 2));
        let gif = b"GIF89a\x03\0\x02\0\0\0\0;";
        assert_eq!(inspect(gif).unwrap(), (ImageType::Gif, 3, 2));
        let jpeg = b"\xff\xd8\xff\xe0\0\x04xx\xff\xc0\0\x0b\x08\0\x02\0\x03\x01\x01\x11\0";
        assert_eq!(inspect(jpeg).unwrap(), (ImageType::Jpeg, 3, 2));
        let webp = b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\x02\x40\0\0\0\0\0\0\0\0\0\0";
        assert_eq!(inspect(webp).unwrap(), (ImageType::Webp, 3, 2));
    }

    #[test]
    fn what_is_no_image_is_refused_whatever_it_is_called() {
        for bytes in [
            &b""[..],
            b"hello",
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            b"<?xml version='1.0'?><svg/>",
            b"\x89PNG",
            b"BM\0\0\0\0",
            b"\x89PNG\r\n\x1a\n<svg onload='alert(1)'/>",
            b"\xff\xd8\xff",
            b"GIF89a",
            b"RIFF\0\0\0\0WEBP",
        ] {
            assert_eq!(code(bytes), Code::BadImage, "{bytes:?}");
        }
        assert_eq!(code(&png(0, 1)), Code::BadImage);
    }

    #[test]
    fn too_many_declared_pixels_are_refused() {
        assert!(inspect(&png(10_000, 5_000)).is_ok());
        for (width, height) in [(10_000, 5_001), (u32::MAX, u32::MAX), (50_000_001, 1)] {
            assert_eq!(code(&png(width, height)), Code::ImageDimensions, "{width} × {height}");
        }
    }
}
