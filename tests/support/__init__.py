"""What several kinds of tests share: clocks, ids, the reference model, fault injection."""
