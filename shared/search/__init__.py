"""Search over pipeline documents and texts: candidates, operators, strategies. Pure: measuring, models and stores are arguments.

Used by the evolution service and, without any service, by `evoline.optimization`."""
