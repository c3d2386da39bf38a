"""The protocols of other systems, whose clients ask this server for captions as they ask theirs."""
