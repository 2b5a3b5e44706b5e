"""The command ``tinyconv``: one file per subcommand. See :func:`tinyconv.cli.main.main`."""
