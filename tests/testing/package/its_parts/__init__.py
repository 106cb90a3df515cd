"""Parts for recbole-unirep, as somebody else would ship them."""
