//! JPEG, scaled while it is decoded: 1/2, 1/4 or 1/8 skip most of the inverse transform and of the memory.

use std::io::{self, BufRead, Read, Seek};

use jpeg_decoder::{CodingProcess, Decoder, Error, ImageInfo, PixelFormat};

use findme_common::media::Media;

use super::metadata::Metadata;
use super::{Limits, Picture, PictureError, Pixels, check_pixels, colour, reduction, upright};

/// Scans that a progressive picture may have; programs write about ten. Each goes through the whole picture although it
/// may be a hundred bytes long, so that a file of a megabyte could keep a core busy for hours.
const MAX_SCANS: usize = 100;

/// `around` is what the file says that the picture lies in; it counts where the picture itself says nothing.
pub(super) fn decode(
    mut reader: impl BufRead + Seek,
    limits: &Limits,
    around: Option<Metadata>,
) -> Result<Picture, PictureError> {
    let mut decoder = Decoder::new(&mut reader);
    decoder.read_info().map_err(refusal)?;
    let full = decoder.info().ok_or(PictureError::Damaged)?;
    check_pixels(full.width.into(), full.height.into(), limits)?;
    if full.coding_process == CodingProcess::DctProgressive {
        drop(decoder);
        reader.rewind()?;
        if !has_few_scans(&mut reader)? {
            return Err(PictureError::Unsupported(Media::Jpeg));
        }
        reader.rewind()?;
        decoder = Decoder::new(&mut reader);
        decoder.read_info().map_err(refusal)?;
    }
    let by = reduction(full.width.into(), full.height.into());
    let (width, height) = if by == 1 {
        (full.width, full.height)
    } else {
        // A side is rounded up, so a request of the rounded-down size is always met by this very factor.
        decoder.scale((full.width as u32 / by) as u16, (full.height as u32 / by) as u16).map_err(refusal)?
    };
    if memory(&full, width, height) > limits.max_bytes {
        return Err(PictureError::TooLarge { pixels: u64::from(full.width) * u64::from(full.height) });
    }
    let samples = decoder.decode().map_err(refusal)?;
    let own = decoder.exif_data().map(<[u8]>::to_vec);
    let metadata = match around {
        Some(around) if own.is_none() => around,
        _ => Metadata::read(own),
    };
    let rgb = to_rgb(samples, full.pixel_format, decoder.icc_profile().as_deref());
    let pixels = Pixels::new(width.into(), height.into(), rgb).ok_or(PictureError::Damaged)?;
    Ok(upright(pixels.reduced_by(by), (full.width.into(), full.height.into()), metadata))
}

/// Whether the picture has at most [`MAX_SCANS`]. What lies in segments or behind the picture's end is not looked at.
fn has_few_scans(reader: &mut impl BufRead) -> io::Result<bool> {
    let mut scans = 0;
    loop {
        reader.skip_until(0xFF)?;
        let mut marker = [0xFF];
        while marker == [0xFF] {
            if reader.read(&mut marker)? == 0 {
                return Ok(true);
            }
        }
        match marker[0] {
            0x00 | 0x01 | 0xD0..=0xD8 => {}
            0xD9 => return Ok(true),
            0xDA if scans == MAX_SCANS => return Ok(false),
            0xDA => scans += 1,
            _ => {
                let mut length = Vec::with_capacity(2);
                reader.by_ref().take(2).read_to_end(&mut length)?;
                let Ok(length) = length.try_into() else { return Ok(true) };
                let content = u64::from(u16::from_be_bytes(length)).saturating_sub(2);
                io::copy(&mut reader.by_ref().take(content), &mut io::sink())?;
            }
        }
    }
}

/// What decoding holds at a time, in bytes: planes and their interleaved copy, and for a progressive picture every
/// coefficient of the full size.
fn memory(full: &ImageInfo, width: u16, height: u16) -> u64 {
    let channels = full.pixel_format.pixel_bytes() as u64;
    let output = u64::from(width) * u64::from(height) * (channels + 3);
    let coefficients = match full.coding_process {
        CodingProcess::DctProgressive => u64::from(full.width) * u64::from(full.height) * channels * 2,
        _ => 0,
    };
    output * 2 + coefficients
}

fn to_rgb(mut samples: Vec<u8>, format: PixelFormat, profile: Option<&[u8]>) -> Vec<u8> {
    match format {
        PixelFormat::RGB24 => {
            colour::to_srgb(profile, &mut samples);
            samples
        }
        PixelFormat::L8 => samples.iter().flat_map(|&grey| [grey; 3]).collect(),
        // Native byte order; the high half is the 8-bit value.
        PixelFormat::L16 => {
            samples.as_chunks::<2>().0.iter().flat_map(|&pair| [(u16::from_ne_bytes(pair) >> 8) as u8; 3]).collect()
        }
        // The decoder undoes Adobe's inversion: 0 is no ink.
        PixelFormat::CMYK32 => colour::cmyk_to_srgb(profile, &samples)
            .unwrap_or_else(|| samples.as_chunks::<4>().0.iter().flat_map(|&cmyk| from_cmyk(cmyk)).collect()),
    }
}

fn from_cmyk([c, m, y, k]: [u8; 4]) -> [u8; 3] {
    let light = |ink: u8| ((255 - u32::from(ink)) * (255 - u32::from(k)) / 255) as u8;
    [light(c), light(m), light(y)]
}

fn refusal(error: Error) -> PictureError {
    match error {
        Error::Io(e) if e.kind() == std::io::ErrorKind::TimedOut => PictureError::TooSlow,
        Error::Unsupported(_) => PictureError::Unsupported(Media::Jpeg),
        // A file that ends too early arrives as an I/O error of this kind; every other kind is the disk's.
        Error::Io(e) if e.kind() != std::io::ErrorKind::UnexpectedEof => PictureError::Io(e),
        Error::Io(_) | Error::Format(_) | Error::Internal(_) => PictureError::Damaged,
    }
}
