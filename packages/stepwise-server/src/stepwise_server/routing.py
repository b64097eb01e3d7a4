"""Paths in routes: `{name:rest}` takes all that is left, line breaks too, which starlette's `path` does not."""

from starlette.convertors import Convertor, register_url_convertor


class RestConvertor(Convertor[str]):
    """All that is left of a path."""

    regex = r"(?s:.*)"

    def convert(self, value: str) -> str:
        """Return it as it is."""
        return value

    def to_string(self, value: str) -> str:
        """Return it as it is."""
        return value


register_url_convertor("rest", RestConvertor())
REST = "rest"
