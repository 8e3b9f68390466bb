'use strict';

// The network of functions that have one: connections of http, https and fetch are made
// through the proxy that HTTPS_PROXY names, by CONNECT. Nothing else gets out, whatever
// this module does: the kernel lets the worker connect to the proxy only.

const { HTTPS_PROXY: address } = process.env;

// Where undici keeps what fetch connects by; all of its releases share the place.
const dispatcher = Symbol.for('undici.globalDispatcher.1');

// hasNetwork tells whether the host lets this worker out.
const hasNetwork = address !== undefined;

// tunnel gives done a connection with a host, or the error that says why there is none.
function tunnelBy(http) {
  const proxy = new URL(address);
  const authorization = `Basic ${Buffer.from(`${proxy.username}:${proxy.password}`).toString('base64')}`;
  const { isIPv6 } = require('node:net');
  const agent = new http.Agent(); // of Node's own class, which connects directly
  return function tunnel(host, port, done) {
    const authority = `${isIPv6(host) ? `[${host}]` : host}:${port}`;
    const request = http.request({
      host: proxy.hostname, port: proxy.port, agent, method: 'CONNECT', path: authority,
      headers: { host: authority, 'proxy-authorization': authorization },
    });
    request.once('connect', (response, socket, head) => {
      if (response.statusCode !== 200) {
        socket.destroy();
        return done(new Error(response.statusMessage));
      }
      if (head.length > 0) socket.unshift(head);
      return done(null, socket);
    });
    request.once('error', done);
    request.end();
  };
}

const kept = { keepAlive: true, scheduling: 'lifo', timeout: 5000 }; // as Node's own agents have it

function installAgents(http, https, tunnel) {
  class ProxyAgent extends http.Agent {
    createConnection(options, done) {
      tunnel(options.host, options.port, done);
    }
  }
  class SecureProxyAgent extends https.Agent {
    createConnection(options, done) {
      tunnel(options.host, options.port, (error, socket) => {
        if (error) done(error);
        else done(null, super.createConnection({ ...options, socket }));
      });
    }
  }
  http.globalAgent = new ProxyAgent(kept);
  https.globalAgent = new SecureProxyAgent(kept);
}

function installFetch(tunnel) {
  const { isIP } = require('node:net');
  void globalThis.Headers; // which has Node load its undici
  const Agent = globalThis[dispatcher]?.constructor;
  if (Agent === undefined) return; // of a Node yet to come: fetch says that it may not connect
  globalThis[dispatcher] = new Agent({
    connect({ hostname, port, protocol, servername }, done) {
      const isSecure = protocol === 'https:';
      tunnel(hostname, port || (isSecure ? 443 : 80), (error, socket) => {
        if (error) done(error);
        else if (isSecure) secure(socket, servername || (isIP(hostname) ? '' : hostname), done);
        else done(null, socket);
      });
    },
  });
}

function secure(socket, servername, done) {
  const encrypted = require('node:tls').connect({ socket, servername, ALPNProtocols: ['http/1.1'] });
  const settle = (error) => {
    encrypted.off('error', settle);
    encrypted.off('secureConnect', settle);
    if (error) done(error);
    else done(null, encrypted);
  };
  encrypted.once('error', settle);
  encrypted.once('secureConnect', settle);
}

function install() {
  if (!hasNetwork) return;
  const http = require('node:http');
  const tunnel = tunnelBy(http);
  installAgents(http, require('node:https'), tunnel);
  installFetch(tunnel);
}

module.exports = { hasNetwork, install };
