"""The library's files that this site sends itself: files from a folder, and thumbnails."""

import re
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import FileResponse, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from council.access import MemberRequest, good_standing_required
from resources import storage
from resources.storage import Ticket

BLOCK_BYTES = 64 * 1024
YEAR_SECONDS = 365 * 24 * 3600
RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")


@require_safe
@good_standing_required
def file(request: MemberRequest, token: str) -> HttpResponse:
    """Send a file from the folder to the member for whom the link was made. A bucket sends its own files."""
    try:
        return send(request, storage.read_link(token, member_id=request.member.pk))
    except storage.LinkRefused as error:
        return fault(request, str(error), status=403)


def send(request: HttpRequest, ticket: Ticket) -> HttpResponse:
    """Send a file from the folder as an attachment, or the one range of it that the request names."""
    try:
        opened = storage.open_file(ticket.path)
    except storage.Unavailable as error:
        return fault(request, str(error), status=404 if isinstance(error, storage.Missing) else 503)
    size = opened.size
    first, last = _range(request.headers.get("Range", ""), size)
    if first > last and size:
        opened.close()
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{size}"})
    response: Any = FileResponse(
        opened, as_attachment=True, filename=ticket.file_name, content_type=ticket.mime_type
    )
    response.block_size = BLOCK_BYTES
    response.headers["Accept-Ranges"] = "bytes"
    if last - first + 1 < size:
        opened.seek(first)
        response.streaming_content = _blocks(opened, last - first + 1)
        response.status_code = 206
        response.headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        response.headers["Content-Length"] = str(last - first + 1)
    sent: HttpResponse = response
    return sent


def _range(header: str, size: int) -> tuple[int, int]:
    """Return the first and last byte to send. All bytes, unless the header names exactly one range."""
    match = RANGE.fullmatch(header.strip())
    if not match or not any(match.groups()):
        return 0, size - 1
    first, last = match.groups()
    if not first:  # "bytes=-500" means the last 500 bytes
        return (max(0, size - int(last)), size - 1) if int(last) else (size, size - 1)
    return int(first), min(int(last), size - 1) if last else size - 1


def _blocks(opened: Any, size: int) -> Any:
    while size and (block := opened.read(min(BLOCK_BYTES, size))):
        size -= len(block)
        yield block


@login_not_required  # the gateway's pages show thumbnails, too, and nobody can guess their names
@require_safe
def thumbnail(request: HttpRequest, name: str) -> HttpResponse:
    """Send a thumbnail. Browsers may cache it, because a new picture gets a new name."""
    try:
        picture = storage.read(f"{storage.THUMBNAILS}/{name}")
    except storage.Unavailable as error:
        return fault(request, str(error), status=404 if isinstance(error, storage.Missing) else 503)
    headers = {"Cache-Control": f"public, max-age={YEAR_SECONDS}, immutable"}
    return HttpResponse(picture, content_type="image/webp", headers=headers)


def fault(request: HttpRequest, message: str, *, status: int) -> HttpResponse:
    """Show a page that explains why a file is not sent."""
    return render(request, "resources/file_fault.html", {"message": message, "status": status}, status=status)
