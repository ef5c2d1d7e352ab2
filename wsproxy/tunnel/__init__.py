"""Two ends and the bytes between them. Knows frames; knows neither Autobahn nor HTTP."""
