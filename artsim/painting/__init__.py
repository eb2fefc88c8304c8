"""How the gallery's paintings are painted: scenes, what stands in them, and brushes."""
