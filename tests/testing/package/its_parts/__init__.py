"""Parts for recbole-unirep, as another package ships them."""
