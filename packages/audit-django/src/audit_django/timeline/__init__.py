"""The timeline: what people see of the trail. Server-rendered; htmx only swaps parts of the same pages."""
