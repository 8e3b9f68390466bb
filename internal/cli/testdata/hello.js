return `Hello, ${event.params.name}`;
