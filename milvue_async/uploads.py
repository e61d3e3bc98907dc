"""Studies on their way out: STOW, or a pixel-less STOW and then signed URLs."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from milvue_async.concurrency import for_each
from milvue_async.errors import APIError, NotFoundError
from milvue_async.protocol.models import PostDicomWebResponseV3, StudyStatus
from milvue_async.protocol.multipart import StowFraming
from milvue_async.protocol.replies import parse_of_study, parse_signed_urls, parse_store_reply
from milvue_async.protocol.requests import (
    EXPIRED_STATUSES,
    signed_put_request,
    status_request,
    store_request,
)
from milvue_async.sources import PieceBody

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from milvue_async.protocol.requests import Reply
    from milvue_async.sources import Instance, OpenPieces, Piece, Study
    from milvue_async.transport import IncomingReply, Transport

__all__ = ["post_dicomweb", "post_signed_url"]

_TRIES_OF_SIGNED_URLS = 3
_STATUS = TypeAdapter(StudyStatus)
_MAX_REPLY_BYTES = 1 << 24


class _StowBody:
    """The body of a STOW request.

    Args:
        framing: What stands around the files.
        files: Each as its pieces.
        on_try: Called before the first byte of each try, when its slot is held; what it raises
            ends the request.
    """

    def __init__(
        self,
        framing: StowFraming,
        files: list[tuple[Piece, ...]],
        on_try: Callable[[], None] | None,
    ) -> None:
        pieces: list[Piece] = []
        for index, file in enumerate(files):
            pieces += (framing.head(index), *file)
        self._body = PieceBody((*pieces, framing.tail))
        self._on_try = on_try

    @property
    def length(self) -> int:
        """Bytes in all."""
        return self._body.length

    def open(self) -> OpenPieces:
        """Begin anew, from the first byte."""
        if self._on_try is not None:
            self._on_try()
        return self._body.open()


async def post_dicomweb(
    transport: Transport,
    study: Study,
    parameters: Mapping[str, object],
    on_try: Callable[[], None] | None = None,
) -> PostDicomWebResponseV3:
    """Send all the instances in one STOW request.

    Where a try leaves it in doubt whether the study arrived, its status is asked for before it is
    sent again: a second submission may be paid for.

    Args:
        transport: The connection.
        study: Checked.
        parameters: As for `requests.store_request`.
        on_try: Called when bytes are about to move, for the first time and for each further
            one; what it raises ends the upload.

    Raises:
        MilvueError: The API refused, or the network failed; ``in_doubt`` says whether the study
            may have arrived all the same.
    """
    framing = StowFraming(secrets.token_hex(16))
    request = store_request(
        study.study_instance_uid,
        framing.content_type,
        accept=transport.settings.store_accept,
        parameters=parameters,
        sop_instance_uids=tuple(item.header.sop_instance_uid for item in study.instances),
    )

    async def consume(reply: IncomingReply) -> PostDicomWebResponseV3:
        return parse_store_reply(await reply.read(_MAX_REPLY_BYTES), request)

    async def recover() -> PostDicomWebResponseV3 | None:
        return await _known(transport, study.study_instance_uid)

    return await transport.send(
        request,
        consume,
        body=_StowBody(framing, [instance.whole for instance in study.instances], on_try),
        slots=transport.upload_slots,
        recover=recover,
    )


async def post_signed_url(
    transport: Transport,
    study: Study,
    parameters: Mapping[str, object],
    on_try: Callable[[], None] | None = None,
) -> PostDicomWebResponseV3:
    """Announce the instances without their pixels, then put each whole file to its URL.

    How long a URL lives is not documented: where one is refused, as expired ones are, all are
    asked for anew.

    Arguments as `post_dicomweb`.

    Raises:
        MilvueError: The API or the storage refused, or the network failed.
    """
    for remaining in reversed(range(_TRIES_OF_SIGNED_URLS)):
        urls = await _ask_for_urls(transport, study, parameters, on_try)
        try:
            await _put_all(transport, study, urls)
        except APIError as error:
            if not (remaining and error.status in EXPIRED_STATUSES):
                raise
        else:
            break
    return PostDicomWebResponseV3(
        StudyInstanceUID=study.study_instance_uid,
        message=f"{len(study.instances)} instances put to signed URLs",
    )


async def _ask_for_urls(
    transport: Transport,
    study: Study,
    parameters: Mapping[str, object],
    on_try: Callable[[], None] | None,
) -> Mapping[str, str]:
    framing = StowFraming(secrets.token_hex(16))
    request = store_request(
        study.study_instance_uid, framing.content_type, signed_url=True, parameters=parameters
    )
    uids = tuple(instance.header.sop_instance_uid for instance in study.instances)

    async def consume(reply: IncomingReply) -> Mapping[str, str]:
        return parse_signed_urls(await reply.read(_MAX_REPLY_BYTES), request, uids)

    body = _StowBody(framing, [instance.pixel_less for instance in study.instances], on_try)
    return await transport.send(request, consume, body=body, slots=transport.upload_slots)


async def _put_all(transport: Transport, study: Study, urls: Mapping[str, str]) -> None:
    uid, api_url = study.study_instance_uid, transport.settings.api_url
    requests = {sop: signed_put_request(url, uid, api_url=api_url) for sop, url in urls.items()}

    async def put(instance: Instance) -> None:
        request = requests[instance.header.sop_instance_uid]

        async def consume(reply: IncomingReply) -> Reply:
            return await reply.read(_MAX_REPLY_BYTES)

        body, slots = PieceBody(instance.whole), transport.upload_slots
        await transport.send(request, consume, body=body, slots=slots)

    await for_each(put, study.instances)


async def _known(transport: Transport, study_instance_uid: str) -> PostDicomWebResponseV3 | None:
    """The submission as the server knows it, or None where it does not."""
    request = status_request(study_instance_uid)
    limit = transport.settings.max_json_bytes
    try:
        reply = await transport.once(request, lambda incoming: incoming.read(limit))
    except NotFoundError:
        return None
    # Whoever answers without speaking of this study, such as a captive portal, knows nothing.
    parse_of_study(_STATUS, reply, request)
    return PostDicomWebResponseV3(
        StudyInstanceUID=study_instance_uid, message="received before the answer was lost"
    )
