"""`stepwise config`: start, show, check and describe configurations."""

import json
from pathlib import Path

import click

from stepwise_cli.options import chosen_config, config_options


@click.group()
def config() -> None:
    """Start, show, check and describe configurations."""


@config.command("list")
def list_configs() -> None:
    """List the configurations that come with stepwise."""
    from stepwise_core.config import shipped_configs

    for name, path in shipped_configs().items():
        first = path.read_text(encoding="utf-8").splitlines()[0]
        click.echo(f"{name:18} {first.removeprefix('#').strip()}")


@config.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), default=Path("config.yaml"))
@click.option(
    "--from", "source", default="dates", show_default=True, help="Shipped configuration to start from."
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
def init(file: Path, source: str, force: bool) -> None:
    """Write a commented configuration FILE to change and train with."""
    from stepwise_core.config import find_config
    from stepwise_core.files import write_atomic

    if file.exists() and not force:
        raise click.UsageError(f"{file} exists; --force replaces it")
    if not file.parent.is_dir():
        raise click.UsageError(f"there is no folder {file.parent}")
    write_atomic(file, find_config(source).read_text(encoding="utf-8"))
    click.echo(f"wrote {file}; next: stepwise train {file}")


@config.command()
@config_options
@click.option("--origin", is_flag=True, help="Say where each value came from.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of YAML.")
def show(
    config: str | None, config_option: str | None, overrides: tuple[str, ...], origin: bool, as_json: bool
) -> None:
    """Print a configuration as it would be used: defaults, preset, file, environment and flags together."""
    import yaml

    from stepwise_core.config import load_config

    resolved = load_config(chosen_config(config, config_option), overrides)
    values = resolved.config.model_dump(mode="json")
    if origin:
        for key, where in resolved.origins.items():
            value = values
            for name in key.split("."):
                value = value[name]
            click.echo(f"{key:36} {json.dumps(value, ensure_ascii=False):24} {where}")
    elif as_json:
        click.echo(json.dumps(values, indent=2, ensure_ascii=False))
    else:
        click.echo(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), nl=False)


@config.command()
@config_options
def validate(config: str | None, config_option: str | None, overrides: tuple[str, ...]) -> None:
    """Check a configuration and show all its mistakes at once; exit code 3 if there are any."""
    from stepwise_core.config import load_config

    name = chosen_config(config, config_option)
    load_config(name, overrides)
    click.echo(f"{name}: ok")


@config.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON schema for editors.")
def schema(as_json: bool) -> None:
    """List every key with its type, default and meaning."""
    from stepwise_core.config import Config
    from stepwise_core.config.describe import describe_keys

    if as_json:
        click.echo(json.dumps(Config.model_json_schema(), indent=2))
        return
    for key in describe_keys():
        click.echo(f"{key.name}: {key.type} = {key.default}\n    {key.meaning}")


@config.command()
def presets() -> None:
    """Show where the presets `paper` and `modern` differ, and which test covers it."""
    from stepwise_core.config import DEVIATIONS

    click.echo(f"{'key':28} {'paper':16} {'modern':16} section  why")
    for row in DEVIATIONS:
        click.echo(f"{row.key:28} {row.paper!s:16} {row.modern!s:16} {row.section:8} {row.why}")
        click.echo(f"{'':28} {row.test}")
