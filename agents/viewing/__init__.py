"""Looking at robots: the drawn figure, a session that runs beside a viewer, the browser, videos."""
