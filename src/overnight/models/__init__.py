"""Language models behind one interface: embedded, scripted, and any provider."""
