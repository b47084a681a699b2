"""A deterministic simulator of fairness: real Lua, real consumers, on demand the real claim; only the clock is ours."""
