//! WebSocket frames (RFC 6455, section 5): an incremental decoder of what a client sends, and the encoder of a server's
//! frames. Called by the gateway's WebSocket sessions; calls nothing.

mod encoder;

pub use encoder::{first_frame, put_frame};

/// The longest header of a client's frame: two bytes, eight of length, four of mask.
const MAX_HEADER: usize = 14;
/// The longest payload of a control frame (section 5.5).
const MAX_CONTROL: usize = 125;
/// How much of a long message the caller sees before it decides about it, in bytes. Less than [`Limits::message`].
const BEGINNING: usize = 256;

/// Bounds of what a client may send.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest message about which the caller is not asked, in bytes of payload over all its frames.
    pub message: usize,
    /// The longest message that is kept if the caller says so; a longer one is discarded.
    pub kept: usize,
    /// The longest message that is read to its end.
    pub discarded: usize,
    /// The most frames of one message.
    pub frames: usize,
}

/// The type of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// A further frame of a fragmented message.
    Continuation,
    /// A message of text.
    Text,
    /// A message of bytes.
    Binary,
    /// The end of the connection.
    Close,
    /// Asks for a pong with the same payload.
    Ping,
    /// The answer to a ping.
    Pong,
}

impl Opcode {
    fn of(nibble: u8) -> Option<Self> {
        Some(match nibble {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    const fn code(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// What a client sent: a message, whole whatever its fragments were, or a control frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// Valid UTF-8.
    Text(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
    /// A text that is longer than [`Limits::message`] has begun with these bytes. The caller says what becomes of it:
    /// [`Decoder::keep`] or [`Decoder::discard`]. If it says nothing, the next call fails.
    LongText(&'a [u8]),
    /// The same of a message of bytes.
    LongBinary,
    /// The end of a message that was discarded, of this length.
    Discarded(usize),
    /// Its payload, at most 125 bytes, belongs into the pong.
    Ping(&'a [u8]),
    /// An answer to a ping, or unasked.
    Pong,
    /// The client closes, with this status if it gave one. Nothing that follows counts.
    Close(Option<u16>),
}

/// Why a connection must be closed. The decoder must not be used after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The frames break RFC 6455.
    #[error("{0}")]
    Protocol(&'static str),
    /// A text, or the reason of a close, is not UTF-8.
    #[error("text is not valid UTF-8")]
    Utf8,
    /// A message is longer than [`Limits::message`] and the caller did not accept that, or than [`Limits::discarded`].
    #[error("the message is too long")]
    TooLong,
    /// A message has more frames than [`Limits::frames`].
    #[error("the message has too many frames")]
    TooManyFrames,
}

impl FrameError {
    /// The status of the close frame (section 7.4.1).
    pub const fn status(self) -> u16 {
        match self {
            Self::Protocol(_) => 1002,
            Self::Utf8 => 1007,
            Self::TooManyFrames => 1008,
            Self::TooLong => 1009,
        }
    }
}

/// The frame whose payload is being read.
#[derive(Debug)]
struct Frame {
    opcode: Opcode,
    fin: bool,
    /// Payload bytes that have not arrived yet.
    remaining: usize,
    /// The mask, rotated so that it begins with the byte for the next payload byte.
    mask: [u8; 4],
}

/// What becomes of a message that is longer than [`Limits::message`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Long {
    /// The caller has not been asked.
    Begun,
    /// The caller was asked and has not answered.
    Asked,
    Kept,
    Discarded,
}

/// Decodes a client's bytes, wherever they are cut. It holds memory only within a message.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    header: [u8; MAX_HEADER],
    header_len: usize,
    frame: Option<Frame>,
    /// The type of the message whose frames are being read, and how many there were.
    message: Option<(Opcode, usize)>,
    /// Bytes of the message up to the end of the present frame.
    announced: usize,
    /// None for a message of usual length.
    long: Option<Long>,
    /// What has arrived of the message; nothing of one that is discarded.
    data: Vec<u8>,
    /// What has arrived of the control frame.
    control: Vec<u8>,
    /// The last call returned what is in `data`.
    data_returned: bool,
    /// The last call returned what is in `control`.
    control_returned: bool,
}

impl Decoder {
    /// A decoder at the start of a connection.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            header: [0; MAX_HEADER],
            header_len: 0,
            frame: None,
            message: None,
            announced: 0,
            long: None,
            data: Vec::new(),
            control: Vec::new(),
            data_returned: false,
            control_returned: false,
        }
    }

    /// The long message that has begun is kept, up to [`Limits::kept`].
    pub fn keep(&mut self) {
        if self.announced > self.limits.kept {
            return self.discard();
        }
        self.long = Some(Long::Kept);
        self.data.reserve_exact(self.announced.saturating_sub(self.data.len()));
    }

    /// The long message that has begun is read to its end and not kept.
    pub fn discard(&mut self) {
        self.long = Some(Long::Discarded);
        self.data = Vec::new();
    }

    /// Consumes `input` up to the end of the next message and returns that; none once all of it is consumed. Payloads
    /// are unmasked in place.
    ///
    /// # Errors
    /// The connection must be closed.
    pub fn decode<'s, 'i: 's>(
        &'s mut self,
        input: &mut &'i mut [u8],
    ) -> Result<Option<Message<'s>>, FrameError> {
        if std::mem::take(&mut self.data_returned) {
            self.data = Vec::new();
        }
        if std::mem::take(&mut self.control_returned) {
            self.control = Vec::new();
        }
        if self.long == Some(Long::Asked) {
            return Err(FrameError::TooLong);
        }
        loop {
            if self.frame.is_none() && !self.read_header(input)? {
                return Ok(None);
            }
            let Some(frame) = &mut self.frame else { return Ok(None) };
            let mut here = frame.remaining.min(input.len());
            let asks = self.long == Some(Long::Begun) && !frame.opcode.is_control();
            if asks {
                here = here.min(BEGINNING.saturating_sub(self.data.len()));
            }
            let (payload, rest) = std::mem::take(input).split_at_mut(here);
            *input = rest;
            unmask(payload, &mut frame.mask);
            frame.remaining -= here;
            let (opcode, fin, ended) = (frame.opcode, frame.fin, frame.remaining == 0);
            if ended {
                self.frame = None;
            }
            if opcode.is_control() {
                if ended && self.control.is_empty() {
                    return control(opcode, payload).map(Some);
                }
                self.control.extend_from_slice(payload);
                if ended {
                    self.control_returned = true;
                    return control(opcode, &self.control).map(Some);
                }
            } else {
                let whole = ended && fin;
                if whole && self.data.is_empty() && self.long.is_none() {
                    let kind = self.end_message();
                    return data(kind, payload).map(Some);
                }
                if self.long != Some(Long::Discarded) {
                    self.data.extend_from_slice(payload);
                }
                if asks && self.data.len() >= BEGINNING {
                    self.long = Some(Long::Asked);
                    let is_text = matches!(self.message, Some((Opcode::Text, _)));
                    let beginning = self.data.get(..BEGINNING).unwrap_or_default();
                    return Ok(Some(if is_text {
                        Message::LongText(beginning)
                    } else {
                        Message::LongBinary
                    }));
                }
                if whole {
                    let (long, length) = (self.long, self.announced);
                    let kind = self.end_message();
                    if long == Some(Long::Discarded) {
                        return Ok(Some(Message::Discarded(length)));
                    }
                    self.data_returned = true;
                    return data(kind, &self.data).map(Some);
                }
            }
            if input.is_empty() && !ended {
                return Ok(None);
            }
        }
    }

    /// The message has ended; returns its type.
    fn end_message(&mut self) -> Opcode {
        self.announced = 0;
        self.long = None;
        self.message.take().map_or(Opcode::Binary, |(kind, _)| kind)
    }

    /// Reads a frame's header; false if it has not arrived in full.
    fn read_header(&mut self, input: &mut &mut [u8]) -> Result<bool, FrameError> {
        loop {
            let size = self.header_size();
            if self.header_len >= 2 && self.header_len == size {
                break;
            }
            let missing = size - self.header_len;
            let here = missing.min(input.len());
            let (bytes, rest) = std::mem::take(input).split_at_mut(here);
            *input = rest;
            if let Some(slots) = self.header.get_mut(self.header_len..self.header_len + here) {
                slots.copy_from_slice(bytes);
            }
            self.header_len += here;
            // At once, so that a peer that masks nothing is not waited for.
            if self.header_len >= 2 && self.header[1] & 0x80 == 0 {
                return Err(FrameError::Protocol("a client's frame must be masked"));
            }
            if here < missing {
                return Ok(false);
            }
        }
        let frame = self.check_header()?;
        self.header_len = 0;
        self.frame = Some(frame);
        Ok(true)
    }

    /// The length of the header, as far as it is known from the bytes that have arrived.
    fn header_size(&self) -> usize {
        if self.header_len < 2 {
            return 2;
        }
        let length = match self.header[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + 4
    }

    fn check_header(&mut self) -> Result<Frame, FrameError> {
        let [first, second, extended @ ..] = self.header;
        if first & 0x70 != 0 {
            return Err(FrameError::Protocol("reserved bits are set"));
        }
        let opcode = Opcode::of(first & 0x0f).ok_or(FrameError::Protocol("the opcode is unknown"))?;
        let fin = first & 0x80 != 0;
        let [a, b, c, d, e, f, g, h, ..] = extended;
        let (length, mask) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes([a, b])), [c, d, e, f]),
            127 => {
                let [.., w, x, y, z] = extended;
                (u64::from_be_bytes([a, b, c, d, e, f, g, h]), [w, x, y, z])
            }
            short => (u64::from(short), [a, b, c, d]),
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if opcode.is_control() {
            if !fin || length > MAX_CONTROL {
                return Err(FrameError::Protocol("a control frame is fragmented or too long"));
            }
        } else {
            self.begin_data_frame(opcode, length)?;
        }
        Ok(Frame { opcode, fin, remaining: length, mask })
    }

    /// Whether a data frame may come now, and is within the limits.
    fn begin_data_frame(&mut self, opcode: Opcode, length: usize) -> Result<(), FrameError> {
        let frames = match (&mut self.message, opcode) {
            (None, Opcode::Continuation) => {
                return Err(FrameError::Protocol("a continuation without a message"));
            }
            (Some((_, frames)), Opcode::Continuation) => {
                *frames += 1;
                *frames
            }
            (Some(_), _) => return Err(FrameError::Protocol("a new message within a fragmented one")),
            (message @ None, _) => {
                *message = Some((opcode, 1));
                1
            }
        };
        self.announced = self.announced.saturating_add(length);
        if self.announced > self.limits.discarded {
            return Err(FrameError::TooLong);
        }
        if self.announced > self.limits.message {
            match self.long {
                None => self.long = Some(Long::Begun),
                Some(Long::Kept) if self.announced > self.limits.kept => self.discard(),
                Some(_) => {}
            }
        }
        if frames > self.limits.frames { Err(FrameError::TooManyFrames) } else { Ok(()) }
    }
}

fn unmask(payload: &mut [u8], mask: &mut [u8; 4]) {
    let mut words = payload.chunks_exact_mut(4);
    for word in &mut words {
        word.iter_mut().zip(*mask).for_each(|(byte, mask)| *byte ^= mask);
    }
    let rest = words.into_remainder();
    rest.iter_mut().zip(*mask).for_each(|(byte, mask)| *byte ^= mask);
    mask.rotate_left(rest.len());
}

fn data(kind: Opcode, payload: &[u8]) -> Result<Message<'_>, FrameError> {
    match kind {
        Opcode::Text => std::str::from_utf8(payload).map(Message::Text).map_err(|_| FrameError::Utf8),
        _ => Ok(Message::Binary(payload)),
    }
}

fn control(opcode: Opcode, payload: &[u8]) -> Result<Message<'_>, FrameError> {
    match (opcode, payload) {
        (Opcode::Ping, payload) => Ok(Message::Ping(payload)),
        (Opcode::Pong, _) => Ok(Message::Pong),
        (_, []) => Ok(Message::Close(None)),
        (_, [a, b, reason @ ..]) => {
            let status = u16::from_be_bytes([*a, *b]);
            // Section 7.4: reserved numbers must not be sent.
            if !matches!(status, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err(FrameError::Protocol("the status of a close is invalid"));
            }
            std::str::from_utf8(reason).map_err(|_| FrameError::Utf8)?;
            Ok(Message::Close(Some(status)))
        }
        (_, [_]) => Err(FrameError::Protocol("the status of a close is cut")),
    }
}
