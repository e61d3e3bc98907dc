"""The client against servers that refuse, break, stall, lie and redirect."""
