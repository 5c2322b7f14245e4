"""What a person looks at: curves, examples, reports, pages and comparisons."""
