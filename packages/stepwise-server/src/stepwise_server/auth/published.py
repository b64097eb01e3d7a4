"""Access keys that others have published: they are in images, charts and sources that anybody can read.

A server that accepts one of them is open to everybody, so none is accepted, whoever configures it.
"""

from stepwise_server.errors import ServerError

PUBLISHED = frozenset(
    {
        "EGRTCO8JMSIGI6S39GTP43NFWXDQOW",  # default user; also in the sources of the SDK
        "EYVQ385RW7Y2QQUH88CZ7DWIQ1WUHP",  # web server
        "62T8CP7HGBC6647XF9314C2VY67RJO",  # API server
        "ENP39EQM4SLACGD5FXB7",  # default user of the chart
        "GGS9F4M6XB2DXJ5AFT9F",  # API server of the chart
        "XXCRJ123CEE2KSQ068WO",  # file server of the chart
    }
)


def refuse_published(name: str) -> None:
    """Check an access key or user name that somebody wants to use.

    Raises:
        ServerError: if it is one of `PUBLISHED`.
    """
    if name.strip().upper() in PUBLISHED:
        raise ServerError(
            f"the access key {name} is published with the official images: anybody could log in with it",
            hint="leave it out, and one is generated",
            exit_code=3,
        )
