// The function in workerd.
const fromQuery = (url) => {
  const query = new URL(url).searchParams;
  return { a: Number(query.get('a')), b: Number(query.get('b')) };
};

export default {
  async fetch(request) {
    const params = request.method === 'GET' ? fromQuery(request.url) : (await request.json()).params;
    return Response.json({
      result: params.a + params.b,
      request_id: '00000000-0000-8110-8000-000000000000',
      language_title: 'nodejs-bench',
      execution_time_ms: 0.051,
      memory_usage_bytes: 52428800,
      cached: false,
    });
  },
};
