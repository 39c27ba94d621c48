"""What schemathesis must know of media types that are only bytes."""

import schemathesis

schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")


@schemathesis.deserializer("image/jpeg", "application/octet-stream")
def as_bytes(ctx, response):
    return response.content.decode("latin-1")
