'use strict';
// A bare node:http server, the least that a function in Node.js costs: it adds
// two numbers, of a JSON body or of a GET's query, and answers with the fields that
// Envoke answers with, as all peers do. The arguments are the Unix socket and the port
// of 127.0.0.1 to listen on.
const http = require('node:http');

const answer = (a, b) => JSON.stringify({
  result: a + b,
  request_id: '00000000-0000-8110-8000-000000000000',
  language_title: 'nodejs-bench',
  execution_time_ms: 0.051,
  memory_usage_bytes: 52428800,
  cached: false,
});

const send = (response, reply) => {
  response.writeHead(200, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(reply),
  });
  response.end(reply);
};

const add = (request, response) => {
  if (request.method === 'GET') {
    const query = new URLSearchParams(request.url.slice(request.url.indexOf('?')));
    send(response, answer(Number(query.get('a')), Number(query.get('b'))));
    return;
  }
  let body = '';
  request.setEncoding('utf8');
  request.on('data', (chunk) => { body += chunk; });
  request.on('end', () => {
    const { params } = JSON.parse(body);
    send(response, answer(params.a, params.b));
  });
};

for (const at of [{ path: process.argv[2] }, { host: '127.0.0.1', port: Number(process.argv[3]) }]) {
  const server = http.createServer(add);
  // A connection that Node closes while Envoy sends on it would be an error that
  // no round caused.
  server.keepAliveTimeout = 0;
  server.listen(at);
}
