"""queues.*: queues as such. Who waits in them is in queue_lines.py, lists of them in queries.py."""

from typing import Any

from stepwise_server import clock
from stepwise_server.api.call import Call
from stepwise_server.api.common.fields import part, valid_name
from stepwise_server.api.common.times import requested_times
from stepwise_server.api.registry import endpoint
from stepwise_server.api.tasks.queueing import dequeue_task
from stepwise_server.errors import ApiError, invalid, missing
from stepwise_server.store import entities, queue_stats, queueing
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import QUEUE, Document
from stepwise_server.store.queueing import Entry

Data = dict[str, Any]


def the_queue(tx: Transaction, call: Call) -> Document:
    """Return the queue that the call's `queue` names by its id.

    Raises:
        ApiError: 400/701 if there is none: clients also try names here, and go on when that fails.
    """
    return entities.load(tx, QUEUE, call.required("queue"))


@endpoint("queues.create", writes=True)
def create(tx: Transaction, call: Call) -> Data:
    """Make a queue."""
    queue: Document = {
        "name": _free_name(tx, call.required("name")),
        "display_name": call.text("display_name") or None,
        "user": call.user,
        "tags": call.texts("tags"),
        "system_tags": call.texts("system_tags"),
        "created": tx.now,
        "last_update": tx.now,
    }
    return {"id": entities.insert(tx, QUEUE, queue)}


@endpoint("queues.update", writes=True)
def update(tx: Transaction, call: Call) -> Data:
    """Change a queue's names and tags."""
    queue = the_queue(tx, call)
    fields: Document = {}
    if call.given("name"):
        fields["name"] = _free_name(tx, call.text("name"), besides=queue["id"])
    if call.given("display_name"):
        fields["display_name"] = call.text("display_name")
    for name in ("tags", "system_tags"):
        if call.given(name):
            fields[name] = entities.sorted_tags(call.texts(name))
    if not fields:
        return {"updated": 0, "fields": {}}
    fields["last_update"] = tx.now
    entities.save(tx, QUEUE, queue["id"], fields)
    return {"updated": 1, "fields": fields}


def _free_name(tx: Transaction, name: str, besides: str = "") -> str:
    """Return a queue's name in the form that is stored.

    Raises:
        ApiError: 400/800 if it is too short, 400/801 if another queue has it.
    """
    name = valid_name(name, "queue")
    if tx.one("SELECT 1 FROM queues WHERE name = ? AND id != ?", [name, besides]):
        raise ApiError(400, 801, "Value combination already exists (queue)", name=name)
    return name


@endpoint("queues.delete", writes=True)
def delete(tx: Transaction, call: Call) -> Data:
    """Delete a queue; with `force` also one in which tasks wait, which become what they were before."""
    queue = the_queue(tx, call)
    waiting = queueing.entries(tx, queue["id"])
    if waiting and not call.flag("force"):
        raise ApiError(400, 702, "Queue is not empty, use force=true to delete", id=queue["id"])
    release(tx, call, waiting)
    entities.remove(tx, QUEUE, queue["id"])
    tx.execute("DELETE FROM queue_stats WHERE queue = ?", [queue["id"]])
    return {"deleted": 1}


def release(tx: Transaction, call: Call, waiting: list[Entry]) -> None:
    """Take tasks out of the queue that they wait in; they become what they were before."""
    for entry in waiting:
        found = entities.load_many(tx, entities.TASK, [entry.task])
        if found:
            dequeue_task(tx, call, found[0])
        else:
            queueing.take(tx, entry.task)


@endpoint("queues.get_default")
def get_default(tx: Transaction, _call: Call) -> Data:
    """Answer which queue is meant when none is named."""
    queue = entities.load(tx, QUEUE, queueing.default_queue(tx))
    return {"id": queue["id"], "name": queue["name"]}


@endpoint("queues.get_num_entries")
def get_num_entries(tx: Transaction, call: Call) -> Data:
    """Count the tasks that wait in a queue."""
    return {"num": queueing.count(tx, the_queue(tx, call)["id"])}


@endpoint("queues.add_or_update_metadata", writes=True)
def add_or_update_metadata(tx: Transaction, call: Call) -> Data:
    """Add items to a queue's metadata, or replace all of it."""
    queue = the_queue(tx, call)
    if not call.given("metadata"):
        raise missing("metadata")
    metadata: Document = {} if call.flag("replace_metadata") else dict(queue["metadata"])
    for item in call.items("metadata"):
        texts = part(item, dict[str, str | None], "metadata")
        if not (key := texts.get("key")):
            raise invalid("an item of metadata has no key")
        metadata[key] = {
            name: texts[name] for name in ("key", "type", "value") if texts.get(name) is not None
        }
    entities.save(tx, QUEUE, queue["id"], {"metadata": metadata, "last_update": tx.now})
    return {"updated": 1}


@endpoint("queues.delete_metadata", writes=True)
def delete_metadata(tx: Transaction, call: Call) -> Data:
    """Remove items from a queue's metadata."""
    queue = the_queue(tx, call)
    keys = set(call.ids("keys"))
    kept = {key: item for key, item in queue["metadata"].items() if key not in keys}
    entities.save(tx, QUEUE, queue["id"], {"metadata": kept, "last_update": tx.now})
    return {"updated": int(len(kept) < len(queue["metadata"]))}


@endpoint("queues.get_queue_metrics")
def get_queue_metrics(tx: Transaction, call: Call) -> Data:
    """Answer how long queues were and how long tasks waited; without `queue_ids`, of all together as "total"."""
    times = requested_times(call)
    asked = call.texts("queue_ids")
    shown = {queue: _points(tx, queue, times, now=call.flag("refresh")) for queue in asked or _queues(tx)}
    if not asked:
        shown = {"total": queue_stats.together(list(shown.values()))}
    return {
        "queues": [
            {
                "queue": queue,
                "dates": [point.date for point in points],
                "avg_waiting_times": [point.waited for point in points],
                "queue_lengths": [point.length for point in points],
            }
            for queue, points in shown.items()
        ]
    }


def _queues(tx: Transaction) -> list[str]:
    return tx.column("SELECT id FROM queues")


def _points(tx: Transaction, queue: str, times: range, *, now: bool) -> list[queue_stats.Point]:
    """Return what is known of a queue; with `now`, also how it is at this moment if that is asked for."""
    points = queue_stats.series(tx, queue, times.start, times.stop, times.step)
    moment = clock.milliseconds(tx.now)
    if now and times.start <= moment <= times.stop:
        current = queue_stats.measure(tx, queue)
        date = moment // times.step * times.step
        points = [point for point in points if point.date != date]
        points.append(queue_stats.Point(date, current.waited, current.length))
    return points
