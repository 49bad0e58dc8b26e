"""The command `tg`: one thin file a verb."""
