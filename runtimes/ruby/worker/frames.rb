# Frames on the socketpair to the host, as documented in runtimes/PROTOCOL.md.

require 'json'

module Envoke
  CHECK, LOAD, INVOKE, MORE, CANCEL = *1..5
  READY, LOADED, RESULT, FAILED, LOG, STREAM, PART = *16..22

  INPUT, OUTPUT = IO.for_fd(3, 'rb', autoclose: false), IO.for_fd(3, 'wb', autoclose: false)
  OUTPUT.sync = true
  WRITING = Mutex.new
  REST = 5 # bytes of a header after the length

  # Waits for a frame and returns its type, its call and its payload.
  def self.receive
    length, kind, call = (INPUT.read(4 + REST) || Process.exit!(0)).unpack('NCN')
    die('a frame without a header') if length < REST
    [kind, call, INPUT.read(length - REST)]
  rescue SystemCallError, IOError
    Process.exit!(0)
  end

  # Writes a frame in whole, whatever other threads do or raise here meanwhile.
  def self.send(kind, call, payload)
    Thread.handle_interrupt(Object => :never) do
      WRITING.synchronize { OUTPUT.write([REST + payload.bytesize, kind, call].pack('NCN') + payload.b) }
    end
  rescue SystemCallError, IOError
    Process.exit!(0)
  end

  # Ends a worker that cannot go on.
  def self.die(reason)
    IO.for_fd(2, 'w', autoclose: false).write("worker: the host sent #{reason}\n")
  ensure
    Process.exit!(70)
  end

  # Returns a text in UTF-8, cut to a number of bytes, but not within a character.
  def self.cut(text, limit)
    text = text.encode(Encoding::UTF_8, invalid: :replace, undef: :replace) unless text.encoding == Encoding::BINARY
    text.dup.force_encoding(Encoding::UTF_8).scrub.byteslice(0, limit).scrub('')
  end
end
