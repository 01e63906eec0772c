"""Pictures of resources. An uploaded picture is decoded, made smaller, and saved again without metadata."""

from io import BytesIO
from typing import IO

from PIL import Image, ImageOps, UnidentifiedImageError

from resources.refusal import Refused
from resources.storage import MIB

MAX_UPLOAD_BYTES = 10 * MIB
MAX_PIXELS = 16_000_000
MAX_SIDE_PIXELS = 640
FORMATS = ("JPEG", "PNG", "WEBP")
TAKEN = "A thumbnail is a JPEG, PNG or WebP picture."


def convert(file: IO[bytes]) -> bytes:
    """Convert a picture to WebP, with at most 640 pixels on each side. Raises Refused."""
    file.seek(0)
    try:
        with Image.open(file, formats=FORMATS) as picture:  # reads only the header
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise Refused(
                    f"The picture has {width:,} by {height:,} pixels, more than {MAX_PIXELS:,} in all. Make it smaller."
                )
            picture.draft(
                "RGB", (2 * MAX_SIDE_PIXELS, 2 * MAX_SIDE_PIXELS)
            )  # decodes a large JPEG at a lower resolution
            has_alpha = picture.mode in {"LA", "PA", "RGBA", "RGBa"} or "transparency" in picture.info
            mode = "RGBA" if has_alpha else "RGB"
            # Resize before converting, so that a large picture is in memory only once.
            small = picture if picture.mode in {"L", "RGB", "RGBA"} else picture.convert(mode)
            small.thumbnail((MAX_SIDE_PIXELS, MAX_SIDE_PIXELS), Image.Resampling.LANCZOS)
            upright = ImageOps.exif_transpose(small).convert(mode)
            # Copy only the pixels, and drop everything else in the picture, such as a location or a profile.
            plain = Image.frombytes(upright.mode, upright.size, upright.tobytes())
            written = BytesIO()
            plain.save(written, "WEBP", quality=80, method=4)
    except UnidentifiedImageError as error:
        raise Refused(f"This picture cannot be read. {TAKEN}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Refused(f"The picture has more than {MAX_PIXELS:,} pixels. Make it smaller.") from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, MemoryError) as error:
        raise Refused(f"The picture is damaged. Save it again. {TAKEN}") from error
    return written.getvalue()
