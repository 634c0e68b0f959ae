"""Sound and corpora: decoding, passports, completeness, miniature corpora."""
