"""recbole_unirep.files.item_columns: the usual columns of a `.item` file that name and describe an item."""

TITLE_COLUMNS = ("title", "movie_title", "name")  # an item's title: the first that exists; movie_title is ml-100k's
TEXT_COLUMNS = ("title", "name", "brand", "categories", "price")  # an item's text: all that exist, in this order
UNIQUE_COLUMNS = ("title", "name", "description")  # no features for a model: one token per item
