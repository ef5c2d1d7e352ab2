"""What a client's bytes mean: frames, base64, or nothing. Sans-IO."""
