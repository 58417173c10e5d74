"""The dashboard: a face on the engine, with no logic of a turn in it."""
