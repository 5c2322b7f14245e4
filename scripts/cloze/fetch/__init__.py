"""Fetching: sources, hubs, resumable transfers, archives."""
