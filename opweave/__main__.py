"""The ``opweave`` command, also ``python -m opweave``."""


def main() -> None:
    """Run the command line with ``sys.argv``; leaves through ``SystemExit`` with the status."""
    from opweave.cli import main as run

    run()


if __name__ == "__main__":
    main()
