"""What copy_async means, in numpy: a copy on a stream of its own, ordered by two events."""


def ref(out, input, stream, ready_event, done_event):
    return {"out": input.copy()}
