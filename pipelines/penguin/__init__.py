"""The Palmer penguins, classified by species."""
