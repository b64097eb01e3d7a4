"""The entrance of the `stepwise` command: the table of commands, and how every failure ends.

No command module is imported until its command runs: `stepwise --help` must answer at once, and importing
torch takes seconds.
"""

import sys
from importlib import import_module

import click

from stepwise_cli import __version__
from stepwise_cli.failures import exit_code_for
from stepwise_cli.versions import require_same_versions

COMMANDS = {
    "train": ("stepwise_cli.commands.train:train", "Train a model; everything lands in one run folder."),
    "resume": ("stepwise_cli.commands.resume:resume", "Go on with an interrupted run, exact to the bit."),
    "evaluate": ("stepwise_cli.commands.evaluate:evaluate", "Score a run on held-out data."),
    "translate": ("stepwise_cli.commands.translate:translate", "Translate a text, or standard input."),
    "attention": ("stepwise_cli.commands.attention:attention", "Draw where a trained model looks."),
    "inspect": ("stepwise_cli.commands.inspect:inspect", "Draw and count the model of a run or a config."),
    "config": ("stepwise_cli.commands.config:config", "Start, show, check and describe configurations."),
    "data": ("stepwise_cli.commands.data:data", "List, show, prepare and version datasets."),
    "runs": ("stepwise_cli.commands.runs:runs", "List, show, rank and compare runs."),
    "report": ("stepwise_cli.commands.report:report", "Write runs as one HTML page that opens offline."),
    "sync": ("stepwise_cli.commands.sync:sync", "Deliver runs to trackers: what is pending, or any run."),
    "track": ("stepwise_cli.commands.track:track", "See how trackers stand; take runs over from elsewhere."),
    "remote": ("stepwise_cli.commands.remote:remote", "Run tasks again on other machines."),
    "server": ("stepwise_cli.commands.server:server", "Run a ClearML server on this machine."),
    "verify": ("stepwise_cli.commands.verify:verify", "Prove that resuming and looking change nothing."),
}
"""The commands in the order in which people meet them: name -> (module:attribute, one line of help)."""


def load_command(name: str) -> click.Command:
    """Import a command of the table and return it."""
    module, _, attribute = COMMANDS[name][0].partition(":")
    command = getattr(import_module(module), attribute)
    assert isinstance(command, click.Command), f"{COMMANDS[name][0]} is no click command"
    return command


class LazyGroup(click.Group):
    """A group that imports only the command that is invoked.

    Help, completion of names and did-you-mean see placeholders that carry the table's line. The step before a
    command runs or completes its options, `resolve_command`, swaps in the real one.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Keep the order of the table instead of the alphabet's."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command as click does, then import the real one."""
        name, placeholder, rest = super().resolve_command(ctx, args)
        return name, load_command(name) if name in COMMANDS else placeholder, rest


@click.group(
    cls=LazyGroup,
    commands={name: click.Command(name, help=summary) for name, (_, summary) in COMMANDS.items()},
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 ok, 1 failure, 2 usage, 3 configuration, 4 server unreachable, 5 not authorised, 6 data, "
    "7 diverged (NaN), 130 interrupted. STEPWISE_DEBUG=1 adds the traceback to an error.",
)
@click.version_option(__version__, prog_name="stepwise", message="%(prog)s %(version)s")
def stepwise() -> None:
    """Train a transformer you can read, and keep track of every run."""
    require_same_versions()


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; no exception gets out.

    Args:
        arguments: what follows `stepwise`; by default what the shell handed over.

    Returns:
        0 for success, else the code of the failure (see `stepwise_cli.failures`).
    """
    try:
        result = stepwise.main(arguments, prog_name="stepwise", standalone_mode=False)
        sys.stdout.flush()  # here, since a pipe found closed at interpreter exit cannot be kept quiet
    except Exception as error:
        return exit_code_for(error)
    except KeyboardInterrupt as interrupt:
        return exit_code_for(interrupt)
    return result if isinstance(result, int) else 0
