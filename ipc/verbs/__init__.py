"""What can be asked of a server, one file per verb or small group of verbs; messages.json declares each."""
